use super::*;

// The test vectors of Go's golang.org/x/mod/sumdb/note.
const GO_VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_SIGNER: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                       then you don't know what your problem is.\n";
const GO_SIGNATURE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";

// The example of C2SP signed-note, "Verifier keys".
const C2SP_VERIFIER: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const C2SP_NOTE: &str = "This is an example message.\n\n\
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn key(seed: u8) -> SignerKey {
    SignerKey::from_seed(KeyName::parse("log.example/a").unwrap(), &[seed; SEED_BYTES])
}

fn verify(note: &str, keys: &[VerifierKey]) -> Result<usize, VerifyNoteError> {
    let note = SignedNote::parse(note.as_bytes()).unwrap();
    note.verify(keys).map(|verified| verified.signers().len())
}

#[test]
fn published_vectors_verify_and_are_reproduced() {
    let verifier = VerifierKey::parse(GO_VERIFIER).unwrap();
    let note = format!("{GO_TEXT}\n{GO_SIGNATURE}\n");
    let parsed = SignedNote::parse(note.as_bytes()).unwrap();
    assert_eq!(parsed.verify(std::slice::from_ref(&verifier)).unwrap().text(), GO_TEXT);
    assert_eq!(verifier.to_string(), GO_VERIFIER);
    assert_eq!(VerifierKey::new(verifier.name().clone(), verifier.public_bytes()).as_ref(), Ok(&verifier));

    let signer = SignerKey::parse(GO_SIGNER).ok().unwrap();
    assert_eq!(*signer.verifier(), verifier);
    assert_eq!(*signer.encode(), GO_SIGNER);
    assert_eq!(SignedNote::sign(GO_TEXT, &[&signer]).unwrap().to_string(), note);

    assert_eq!(verify(C2SP_NOTE, &[VerifierKey::parse(C2SP_VERIFIER).unwrap()]), Ok(1));
}

#[test]
fn only_known_keys_count_and_a_wrong_one_is_refused() {
    let (ours, other) = (key(1), key(2));
    let (ours_public, other_public) = (ours.verifier().clone(), other.verifier().clone());
    let both = SignedNote::sign("text\n", &[&ours, &other]).unwrap();
    assert_eq!(verify(&both.to_string(), std::slice::from_ref(&ours_public)), Ok(1));
    assert_eq!(verify(&both.to_string(), &[ours_public.clone(), other_public.clone()]), Ok(2));
    assert_eq!(verify(&both.to_string(), &[]), Err(VerifyNoteError::NoKnownSignature));

    let alone = SignedNote::sign("text\n", &[&other]).unwrap().to_string();
    assert_eq!(verify(&alone, std::slice::from_ref(&ours_public)), Err(VerifyNoteError::NoKnownSignature));

    // A known key's signature over another text, beside a good one.
    let mut mixed = SignedNote::sign("text\n", &[&ours]).unwrap();
    mixed.add(SignedNote::sign("other text\n", &[&other]).unwrap().signatures()[0].clone()).unwrap();
    let wrong = VerifyNoteError::WrongSignature { name: other_public.name().clone(), id: other_public.id() };
    assert_eq!(verify(&mixed.to_string(), &[ours_public.clone(), other_public]), Err(wrong));
    assert_eq!(verify(&mixed.to_string(), std::slice::from_ref(&ours_public)), Ok(1));

    // Twice the same good signature is one signer; the same key twice is one key.
    let twice = SignedNote::sign("text\n", &[&ours, &ours]).unwrap().to_string();
    assert_eq!(verify(&twice, &[ours_public.clone(), ours_public]), Ok(1));
}

#[test]
fn a_signature_that_shares_only_the_name_or_only_the_id_is_ignored() {
    let ours = key(1);
    let note = SignedNote::sign("text\n", &[&ours]).unwrap();
    let signature = &note.signatures()[0];
    let renamed = KeyName::parse("log.example/b").unwrap();
    let strangers = [
        NoteSignature::new(renamed, signature.id(), signature.bytes().to_vec()).unwrap(),
        NoteSignature::new(signature.name().clone(), KeyId::from_bytes([0; 4]), vec![1]).unwrap(),
    ];
    for stranger in strangers {
        let mut note = SignedNote::parse(note.to_string().as_bytes()).unwrap();
        note.add(stranger).unwrap();
        assert_eq!(verify(&note.to_string(), std::slice::from_ref(ours.verifier())), Ok(1));
    }
}

#[test]
fn signatures_of_another_length_are_wrong_not_a_panic() {
    let ours = key(1);
    for length in [1, 63, 65, 200] {
        let id = ours.verifier().id();
        let signature = NoteSignature::new(ours.name().clone(), id, vec![0; length]).unwrap();
        let note = format!("text\n\n{signature}\n");
        let refused = verify(&note, std::slice::from_ref(ours.verifier()));
        assert_eq!(refused, Err(VerifyNoteError::WrongSignature { name: ours.name().clone(), id }));
    }
    assert_eq!(NoteSignature::new(ours.name().clone(), ours.verifier().id(), vec![]), None);
}

#[test]
fn malformed_notes_are_refused_with_the_reason() {
    let line = SignedNote::sign("text\n", &[&key(1)]).unwrap().signatures()[0].to_string();
    let check = |note: &[u8], expected: ParseNoteError| {
        assert_eq!(SignedNote::parse(note).unwrap_err(), expected, "{:?}", String::from_utf8_lossy(note));
    };
    check(b"", ParseNoteError::NoEmptyLine);
    check(format!("text\n{line}\n").as_bytes(), ParseNoteError::NoEmptyLine);
    check(b"text\n\n", ParseNoteError::Unsigned);
    check(format!("text\n\n{line}").as_bytes(), ParseNoteError::Unterminated);
    check(format!("te\rxt\n\n{line}\n").as_bytes(), ParseNoteError::ControlCharacter { at: 2 });
    check(b"t\xff\n\nx\n", ParseNoteError::NotUtf8 { at: 1 });
    // 64 signatures of 7 KiB, and 64 KiB of text.
    check(&vec![b'a'; 524_288], ParseNoteError::NoEmptyLine);
    check(&vec![b'a'; 524_289], ParseNoteError::TooLong { bytes: 524_289 });
    let many = |count: usize| format!("text\n\n{}", format!("{line}\n").repeat(count));
    assert!(SignedNote::parse(many(MAX_SIGNATURES).as_bytes()).is_ok());
    check(many(MAX_SIGNATURES + 1).as_bytes(), ParseNoteError::TooManySignatures);

    let signature = |line: &str, expected: ParseSignatureError| {
        let note = format!("text\n\n{line}\n");
        check(note.as_bytes(), ParseNoteError::Signature { position: 0, source: expected });
    };
    for bad in ["", "x", "- a AAAAAAA=", "—a AAAAAAA=", "— a", "—  AAAAAAA="] {
        let error = NoteSignature::parse(bad).unwrap_err();
        assert!(
            matches!(error, ParseSignatureError::Line { .. } | ParseSignatureError::Name(_)),
            "{bad:?}: {error:?}"
        );
    }
    signature("— a AAAAAA", ParseSignatureError::Base64 { found: "AAAAAA".to_owned() });
    signature("— a  AAAAAAA=", ParseSignatureError::Base64 { found: " AAAAAAA=".to_owned() });
    signature("— a AAAAAA==", ParseSignatureError::TooShort { bytes: 4 });
    signature("— a+b AAAAAAA=", ParseSignatureError::Name(KeyName::parse("a+b").unwrap_err()));

    assert_eq!(SignedNote::sign("no newline", &[&key(1)]), Err(ParseNoteError::Unterminated));
    assert_eq!(SignedNote::sign("", &[&key(1)]), Err(ParseNoteError::Unterminated));
    assert_eq!(SignedNote::sign("tab\t\n", &[&key(1)]), Err(ParseNoteError::ControlCharacter { at: 3 }));
    assert_eq!(SignedNote::sign("text\n", &[]), Err(ParseNoteError::Unsigned));
}

#[test]
fn a_text_with_empty_lines_and_signature_lines_of_its_own_stays_whole() {
    for text in ["\n", "a\n\nb\n", "a\n\n", "a\n\n— b AAAAAAA=\n", "— b AAAAAAA=\n"] {
        let note = SignedNote::sign(text, &[&key(1)]).unwrap();
        let parsed = SignedNote::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(parsed, note);
        assert_eq!(parsed.unverified_text(), text);
    }
}

#[test]
fn malformed_keys_are_refused_with_the_reason() {
    let check = |encoded: &str, expected: ParseKeyError| {
        assert_eq!(VerifierKey::parse(encoded), Err(expected.clone()), "{encoded}");
        let secret = SignerKey::parse(&format!("PRIVATE+KEY+{encoded}")).err();
        assert_eq!(secret, Some(expected), "{encoded}");
    };
    check("", ParseKeyError::Parts);
    check("name", ParseKeyError::Parts);
    check("name+00000000", ParseKeyError::Parts);
    check("+00000000+AQ==", ParseKeyError::Name(KeyNameError::Empty));
    check("name+0000000+AQ==", ParseKeyError::Id);
    check("name+0000000G+AQ==", ParseKeyError::Id);
    check("name+0000000A+AQ==", ParseKeyError::Id);
    check("name++0000000+AQ==", ParseKeyError::Id);
    check("name+00000000+AQ", ParseKeyError::Base64);
    check("name+00000000+", ParseKeyError::Length { found: 0 });
    check("name+00000000+AQ==", ParseKeyError::Length { found: 0 });
    check("name+00000000+BAAA", ParseKeyError::Algorithm { found: 4 });
    assert_eq!(SignerKey::parse(GO_VERIFIER).err(), Some(ParseKeyError::NotSecret));

    for encoded in [GO_VERIFIER.replace("c74f20a3", "c74f20a4"), GO_VERIFIER.replace("PeterN", "Petern")] {
        assert!(matches!(VerifierKey::parse(&encoded), Err(ParseKeyError::IdMismatch { .. })), "{encoded}");
    }
    let other_id = GO_SIGNER.replace("c74f20a3", "c74f20a4");
    assert!(matches!(SignerKey::parse(&other_id).err(), Some(ParseKeyError::IdMismatch { .. })));
}

#[test]
fn public_keys_that_prove_nothing_are_refused() {
    let name = KeyName::parse("n").unwrap();
    // The neutral element, which has order 1.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert_eq!(VerifierKey::new(name.clone(), &neutral), Err(ParseKeyError::Weak));
    // y = 2 is on no point of the curve.
    let mut off = [0; 32];
    off[0] = 2;
    assert_eq!(VerifierKey::new(name.clone(), &off), Err(ParseKeyError::NotAPoint));
    // y = 3 is a key; 2^255 − 19 + 3 would be another encoding of the same.
    let (mut three, mut three_plus_p) = ([0; 32], [0xff; 32]);
    three[0] = 3;
    (three_plus_p[0], three_plus_p[31]) = (0xf0, 0x7f);
    assert!(VerifierKey::new(name.clone(), &three).is_ok());
    assert_eq!(VerifierKey::new(name, &three_plus_p), Err(ParseKeyError::NotAPoint));
}
