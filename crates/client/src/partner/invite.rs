//! Linking: the invitation, and the code that opens its acceptance.

use std::collections::BTreeSet;

use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::{GrantName, LinkName, SubjectHandle},
    statement::{
        CODE_DIGITS, ChangeReason, LinkAcceptance, LinkConfirmation, LinkInvitation, MAX_INVITATION_LIFE,
        ReturnAddress, SECRET_BYTES, label_commitment, mac_opens,
    },
    time::Timestamp,
};
use countersign_proto::{
    statement::v1 as wire,
    v1::{ConfirmLinkRequest, CreateLinkInvitationRequest, GetLinkRequest},
};
use zeroize::Zeroizing;

use super::{Partner, Shared, papers::unadmitted};
use crate::{
    book::{Entry, GrantRow, Invitation, LinkRow, Standing, envelope_bytes},
    channel::call,
    error::{Error, Misuse, Party},
    invitation::InvitationPackage,
};

/// How often a code may be tried: with six digits, a guess opens one ceremony in 333,333.
const TRIES: u8 = 3;

/// The most grants of one link that end with it of which this side hears by the broker's refusals alone: one for each call.
/// Approvals within the seconds of a ceremony are a handful; what is left goes on when it is confirmed again.
const MAX_UNHEARD: usize = 64;

/// An invitation that went out.
#[derive(Clone)]
pub struct Invited {
    /// What the customer's app gets, by QR code or URL fragment, and nobody else.
    pub package: InvitationPackage,
    /// The link that comes of it.
    pub link: LinkName,
    /// The handle by which this partner will know the customer.
    pub subject: SubjectHandle,
    /// When it lapses.
    pub expire_time: Timestamp,
}

/// What an invitation says beside whom it invites.
#[derive(Clone, Debug, Default)]
pub struct InviteOptions {
    /// The handle of the link whose place the new one takes: its keys were lost, or reported stolen. Once the new link is
    /// confirmed the old one is over: before that every grant that hangs on it is revoked. The new link has a new handle.
    pub replaces: Option<SubjectHandle>,
    /// Where the customer's app takes the code, as `#countersign-code=` and six digits. What is found there opens the
    /// invitation of the session that it comes to, and of no other: who was sent somebody else's invitation is signed in
    /// as somebody else.
    pub return_address: Option<ReturnAddress>,
}

impl Partner {
    /// Invites the person who is signed in to link. `label` is how they know their account, such as `Maya, gold card`; the
    /// broker never sees it.
    pub async fn invite(&self, label: &str) -> Result<Invited, Error> {
        self.invite_with(label, &InviteOptions::default()).await
    }

    /// Invites a person to link anew who has lost the keys of the link with this handle, or reported them stolen. Once the
    /// new link is confirmed the old one is over: before that every grant that hangs on it is revoked. The new link has a
    /// new handle. Once the old account is erased the broker knows the old link no more, and refuses this with
    /// `RESOURCE_UNKNOWN`: then [`invite`](Self::invite) is what is left, and all that is needed.
    pub async fn invite_anew(&self, replaced: &SubjectHandle, label: &str) -> Result<Invited, Error> {
        let options = InviteOptions { replaces: Some(replaced.clone()), ..InviteOptions::default() };
        self.invite_with(label, &options).await
    }

    /// The same, with all that an invitation can say.
    pub async fn invite_with(&self, label: &str, options: &InviteOptions) -> Result<Invited, Error> {
        let replaces = options.replaces.as_ref().map(|replaced| {
            let old = self.0.book.link_of(replaced);
            old.map(|old| old.name().digest()).ok_or_else(|| Misuse::Unknown { name: replaced.to_string() })
        });
        let replaces: Option<Digest> = replaces.transpose().map_err(Error::Misuse)?;
        let shared = &self.0;
        shared.monitor.check()?;
        let subject = SubjectHandle::of(&shared.name, shared.system.draw());
        let secret = Zeroizing::new(shared.system.draw::<SECRET_BYTES>());
        let salt = shared.system.draw::<SECRET_BYTES>();
        let checkpoint = shared.monitor.for_signing().await?;
        let now = shared.system.now();
        let expire_time = now.plus(MAX_INVITATION_LIFE);
        let signed = shared.sign_checked::<LinkInvitation>(
            "label",
            &wire::LinkInvitation {
                broker: shared.trust.origin.to_string(),
                partner: shared.name.to_string(),
                identity_key: shared.identity.as_bytes().to_vec().into(),
                subject: subject.as_str().to_owned(),
                label_commitment: label_commitment(&salt, label).into(),
                expire_time_ms: expire_time.as_millis(),
                time_ms: now.as_millis(),
                checkpoint,
                replaces: replaces.map(Into::into).unwrap_or_default(),
                return_address: options.return_address.as_ref().map(ToString::to_string).unwrap_or_default(),
            },
        )?;
        let invitation = signed.envelope().clone();
        let package =
            InvitationPackage::new(invitation.clone(), shared.certificate.clone(), &secret, &salt, label);
        // What the customer's app would refuse is refused here, before anybody has seen it.
        package.verify(&shared.trust.origin, now).map_err(|error| Error::malformed("label", error))?;
        let entry = Entry::Invited {
            link: *signed.digest().as_bytes(),
            subject: subject.as_str().to_owned(),
            secret: *secret,
            expire_ms: expire_time.as_millis(),
            tries_left: TRIES,
        };
        // In the book first: an invitation that is out and not in the book could never be confirmed.
        shared.book.enter_durably(entry).await?.map_err(|error| unadmitted("invitation", &error))?;
        if let Some(replaced) = replaces {
            let link = *signed.digest().as_bytes();
            let entry = Entry::Replaces { link, replaced: *replaced.as_bytes() };
            shared.book.enter_durably(entry).await?.map_err(|error| unadmitted("invitation", &error))?;
        }
        let asked = CreateLinkInvitationRequest { statement: Some(invitation) };
        shared.connection.links().create_link_invitation(call(asked)).await?;
        Ok(Invited { package, link: LinkName::of(signed.digest()), subject, expire_time })
    }

    /// Confirms a link with the code that the signed-in person brought back. Only a code that opens the acceptance pins
    /// the customer's key; after three that don't, the invitation is gone. Called again after it succeeded, it sends the
    /// same confirmation again.
    pub async fn confirm(&self, link: &LinkName, code: &str) -> Result<LinkRow, Error> {
        let shared = &self.0;
        shared.monitor.check()?;
        let _ceremony = shared.ceremony.lock().await;
        if let Some(row) = shared.book.link(link) {
            return self.give_way_to(row).await;
        }
        if code.len() != CODE_DIGITS || !code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::malformed("code", format!("has {CODE_DIGITS} digits")));
        }
        let unknown = || Error::Misuse(Misuse::Unknown { name: link.to_string() });
        let invitation =
            shared.book.read(|state| state.invitations.get(&link.digest()).cloned()).ok_or_else(unknown)?;
        if shared.system.now() >= invitation.expires {
            let problem = "the invitation has lapsed; make a new one";
            return Err(Error::Misuse(Misuse::NotNow { name: link.to_string(), problem }));
        }
        let acceptance = shared.acceptance(link).await?;
        if !mac_opens(&invitation.secret, acceptance.statement(), code) {
            return Err(shared.wrong_code(link, &invitation).await?);
        }
        let checkpoint = shared.monitor.for_signing().await?;
        let confirmation = shared.sign::<LinkConfirmation>(&wire::LinkConfirmation {
            broker: shared.trust.origin.to_string(),
            partner: shared.name.to_string(),
            acceptance: acceptance.digest().into(),
            time_ms: shared.system.now().as_millis(),
            checkpoint,
        });
        let entry = Entry::Linked {
            link: *link.digest().as_bytes(),
            subject: invitation.subject.as_str().to_owned(),
            acceptance: envelope_bytes(acceptance.envelope()),
            confirmation: envelope_bytes(&confirmation),
        };
        shared.book.enter_durably(entry).await?.map_err(|error| unadmitted("link", &error))?;
        self.give_way_to(shared.book.link(link).ok_or_else(unknown)?).await
    }

    /// Confirms a link that the book has. What hangs on the one that it replaces, and is stopped on this side since, is ended
    /// by this partner's signed word for everybody else first. What a stop of this machine leaves undone is done when it is
    /// confirmed again.
    async fn give_way_to(&self, row: LinkRow) -> Result<LinkRow, Error> {
        let shared = &self.0;
        let Some(replaced) = row.replaces() else {
            shared.send_confirmation(&row).await?;
            return Ok(row);
        };
        for grant in shared.book.grants().into_iter().filter(|grant| grant.link() == replaced) {
            self.end_hanging(&grant).await?;
        }
        let mut told = BTreeSet::new();
        loop {
            let refused = match shared.send_confirmation(&row).await {
                Ok(()) => return Ok(row),
                Err(error) => error,
            };
            // The broker has a grant of which this side has not heard, or not heard all.
            let Some(grant) = standing(&refused).filter(|_| told.len() < MAX_UNHEARD) else {
                return Err(refused);
            };
            let taken = shared.take_grant(&grant).await?;
            if taken.link() != replaced {
                let detail = format!("`{grant}` does not hang on the link that gives way");
                return Err(Error::misbehaved(Party::Broker, "link", "grant", detail));
            }
            // Named again it was ended, and the broker does not have it.
            if !told.insert(grant) {
                return Err(refused);
            }
            self.end_hanging(&taken).await?;
        }
    }

    async fn end_hanging(&self, grant: &GrantRow) -> Result<(), Error> {
        let over = matches!(grant.standing(), Standing::Stopped { .. } | Standing::Superseded { .. })
            || self.0.system.now() >= grant.terms().expire_time;
        // One's own revocation is told again, in case it never arrived.
        let by_other = grant.revoked().is_some_and(|(side, _)| side != grant.side());
        if over || by_other {
            return Ok(());
        }
        match self.revoke_grant(grant.name(), ChangeReason::LinkReplaced).await {
            Ok(_) | Err(Error::Misuse(Misuse::NotNow { .. })) => Ok(()),
            // It ended meanwhile: by its customer, its uses, or the other side.
            Err(error) if error.reason() == Some("WRONG_STATE") => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Shared {
    async fn acceptance(&self, link: &LinkName) -> Result<Signed<LinkAcceptance>, Error> {
        let asked = GetLinkRequest { name: link.to_string() };
        let answer = self.connection.links().get_link(call(asked)).await?.into_inner();
        let Some(accepted) = answer.acceptance.as_ref() else {
            let problem = "the customer has not accepted yet";
            return Err(Error::Misuse(Misuse::NotNow { name: link.to_string(), problem }));
        };
        verify_acceptance(accepted, link.digest(), &self.trust.origin)
    }

    /// The try is spent before the answer goes out, so that a crash gives none back.
    async fn wrong_code(&self, link: &LinkName, invitation: &Invitation) -> Result<Error, Error> {
        let tries_left = invitation.tries_left.saturating_sub(1);
        let entry = Entry::TryFailed { link: *link.digest().as_bytes(), left: tries_left };
        self.book.enter_durably(entry).await?.map_err(|error| unadmitted("invitation", &error))?;
        Ok(Error::Misuse(Misuse::WrongCode { tries_left }))
    }

    async fn send_confirmation(&self, row: &LinkRow) -> Result<(), Error> {
        let asked = ConfirmLinkRequest { name: row.name().to_string(), statement: Some(row.confirmation()) };
        self.connection.links().confirm_link(call(asked)).await?;
        Ok(())
    }
}

/// The grant that keeps a link from giving way, by the broker's word.
fn standing(refused: &Error) -> Option<GrantName> {
    let Error::Refused(refused) = refused else { return None };
    let named = refused.metadata.get("grant").filter(|_| refused.reason == "GRANTS_STAND")?;
    GrantName::parse(named).ok()
}

/// The acceptance of this very invitation, signed with the key that it names.
fn verify_acceptance(
    envelope: &wire::Envelope,
    invitation: Digest,
    broker: &countersign_grants::id::Origin,
) -> Result<Signed<LinkAcceptance>, Error> {
    let bad = |error| Error::bad_statement(Party::Customer, "acceptance", &error);
    let claimed = envelope::peek::<LinkAcceptance>(Some(envelope)).map_err(bad)?;
    let accepted =
        envelope::verify::<LinkAcceptance>(Some(envelope), &[&claimed.link_key], broker).map_err(bad)?;
    if accepted.statement().invitation != invitation {
        return Err(Error::misbehaved(
            Party::Broker,
            "acceptance",
            "invitation",
            "it accepts another invitation",
        ));
    }
    Ok(accepted)
}
