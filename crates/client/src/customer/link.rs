//! Accepting an invitation, and learning that the partner has confirmed.

use std::fmt;

use countersign_grants::{
    envelope::{self, Signed},
    id::{LinkName, PartnerName},
    key::PublicKey,
    statement::{LinkAcceptance, LinkConfirmation, LinkInvitation, WorkingKey, code_mac},
    time::Timestamp,
};
use countersign_proto::{
    statement::v1 as wire,
    v1::{AcceptLinkInvitationRequest, Link, ListLinksRequest, link::State},
};
use prost::Message as _;

use super::{Customer, LinkRow, PAGE_SIZE, all_pages, entry::Entry};
use crate::{
    channel::call,
    checkpoint::Met,
    error::{Error, Misbehaved, Misuse, Party},
    invitation::{InvitationPackage, VerifiedInvitation},
};

/// The number of codes: 000000 to 999999.
const CODES: u64 = 1_000_000;

/// What the app shows before the person accepts.
#[derive(Clone, Debug)]
pub struct Invited {
    /// Who invites.
    pub partner: PartnerName,
    /// The identity that will be pinned. Whether it is the brand's follows from whose app the invitation came from.
    pub identity: PublicKey,
    /// How the person knows the account.
    pub label: String,
    /// When the invitation lapses.
    pub expires: Timestamp,
}

/// An accepted invitation. The link stands once the partner has been given the code. `Debug` keeps the code back.
#[derive(Clone)]
pub struct Accepted {
    /// `links/{link}`.
    pub link: LinkName,
    /// With whom.
    pub partner: PartnerName,
    /// How the person knows the account.
    pub label: String,
    /// Six digits for the partner's own app, where the person is signed in; for nobody else.
    pub code: String,
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, partner, label, code: _ } = self;
        f.debug_struct("Accepted")
            .field("link", link)
            .field("partner", partner)
            .field("label", label)
            .finish_non_exhaustive()
    }
}

impl Customer {
    /// Verifies an invitation, for the app to show before the person decides. Sends nothing.
    pub fn read_invitation(&self, package: &InvitationPackage) -> Result<Invited, Error> {
        let verified = self.verify_invitation(package)?;
        let invitation = verified.invitation.statement();
        Ok(Invited {
            partner: invitation.partner.clone(),
            identity: invitation.identity.clone(),
            label: verified.label.clone(),
            expires: invitation.expire_time,
        })
    }

    /// Accepts an invitation with a key made for this link alone, and draws the code. An invitation that was accepted
    /// before yields the same acceptance and code again.
    pub async fn accept(&self, package: &InvitationPackage) -> Result<Accepted, Error> {
        self.0.monitor.check()?;
        let link = package.link();
        let row = match self.0.book.link(&link) {
            Some(row) => row,
            None => self.sign_acceptance(package).await?,
        };
        let asked = AcceptLinkInvitationRequest {
            name: link.to_string(),
            statement: Some(row.acceptance_envelope.clone()),
        };
        self.0.connection.links().accept_link_invitation(call(asked)).await?;
        let LinkRow { partner, label, code, .. } = row;
        Ok(Accepted { link, partner, label, code })
    }

    /// All links, oldest first; asks the broker whether those that were not confirmed are by now and which have ended, and
    /// takes over those that were made with the same wallet on another device.
    pub async fn links(&self) -> Result<Vec<LinkRow>, Error> {
        self.0.monitor.check()?;
        match self.learn_links().await? {
            Some(fault) => Err(Error::Misbehaved(Box::new(fault))),
            None => Ok(self.0.book.links()),
        }
    }

    /// Holds the broker's list of links against the book. A confirmation that does not verify leaves its own link
    /// unconfirmed, and is what comes back: a partner can make one, and must not keep the customer from the others.
    pub(super) async fn learn_links(&self) -> Result<Option<Misbehaved>, Error> {
        let listed = all_pages(|page_token| async {
            let asked =
                ListLinksRequest { parent: self.name().to_string(), page_size: PAGE_SIZE, page_token };
            let page = self.0.connection.links().list_links(call(asked)).await?.into_inner();
            Ok((page.links, page.next_page_token))
        })
        .await?;
        let (mut of_partner, mut fault) = (None, None);
        for link in listed {
            match self.learn_link(&link).await {
                Ok(()) => {}
                Err(Error::Misbehaved(one)) if matches!(one.who, Party::Partner(_)) => {
                    tracing::warn!(link = %link.name, error = %one, "a link stays unconfirmed");
                    of_partner.get_or_insert(*one);
                }
                Err(error) => drop(fault.get_or_insert(error)),
            }
        }
        fault.map_or(Ok(of_partner), Err)
    }

    async fn learn_link(&self, link: &Link) -> Result<(), Error> {
        let Ok(name) = LinkName::parse(&link.name) else { return Ok(()) };
        let row = match self.0.book.link(&name) {
            Some(row) => row,
            None => self.adopt_link(&name, link).await?,
        };
        let digest = *row.name.digest().as_bytes();
        if matches!(link.state(), State::Replaced | State::Stolen) {
            // The broker's word alone; but it takes nothing away that the broker could not refuse as well.
            if !row.ended {
                self.0.book.enter(Entry::Ended { link: digest }).await?;
            }
            return Ok(());
        }
        if row.stands() || link.confirmation.is_none() {
            return Ok(());
        }
        self.verify_confirmation(&row, link)?;
        Ok(self.0.book.enter(Entry::Confirmed { link: digest }).await?)
    }

    /// Takes a link over that was accepted with the same wallet elsewhere: the acceptance by the link's own key vouches for
    /// the invitation, and so for the identity in it. What the account is called stays on the other device.
    pub(super) async fn adopt_link(&self, name: &LinkName, link: &Link) -> Result<LinkRow, Error> {
        let wrong = |check, detail: &str| Error::misbehaved(Party::Broker, "link", check, detail.to_owned());
        let invitation = envelope::peek::<LinkInvitation>(link.invitation.as_ref())
            .map_err(|error| Error::bad_statement(Party::Broker, "invitation", &error))?;
        if link.invitation.as_ref().map(envelope::digest) != Some(name.digest()) {
            return Err(wrong("name", "is not that of its invitation"));
        }
        let key = self.0.wallet.link_key(name.digest());
        let acceptance =
            envelope::verify::<LinkAcceptance>(link.acceptance.as_ref(), &[key.public()], self.origin())
                .map_err(|error| Error::bad_statement(Party::Broker, "acceptance", &error))?;
        let said = acceptance.statement();
        if said.invitation != name.digest() || said.link_key != *key.public() {
            return Err(wrong("acceptance", "is of another invitation, or names another key"));
        }
        let entry = Entry::Linked {
            link: *name.digest().as_bytes(),
            partner: invitation.partner.to_string(),
            identity: *invitation.identity.as_bytes(),
            subject: invitation.subject.to_string(),
            label: String::new(),
            acceptance: acceptance.envelope().encode_to_vec(),
            code: String::new(),
            expire_ms: invitation.expire_time.as_millis(),
        };
        self.0.book.enter(entry).await?;
        self.0.book.link(name).ok_or_else(|| wrong("name", "did not enter the book"))
    }

    /// Whether every statement that the broker shows of a link in the book is what the customer and the partner signed.
    pub(super) fn verify_link(&self, row: &LinkRow, link: &Link) -> Result<Signed<LinkInvitation>, Error> {
        let wrong =
            |check, detail: &str| Err(Error::misbehaved(Party::Broker, "link", check, detail.to_owned()));
        let who = Party::Partner(row.partner.clone());
        let invitation = certified(&link.partner_keys, row, self.origin(), |key| {
            key.verify::<LinkInvitation>(link.invitation.as_ref(), |said| said.time)
        })
        .map_err(|error| Error::bad_key(who.clone(), "invitation", &error))?;
        if invitation.digest() != row.name.digest() {
            return wrong("name", "is not that of its invitation");
        }
        let key = self.0.wallet.link_key(row.name.digest());
        let acceptance =
            envelope::verify::<LinkAcceptance>(link.acceptance.as_ref(), &[key.public()], self.origin())
                .map_err(|error| Error::bad_statement(Party::Broker, "acceptance", &error))?;
        if acceptance.digest() != row.acceptance {
            return wrong("acceptance", "is another than the one in the book");
        }
        if row.confirmed || link.confirmation.is_some() {
            self.verify_confirmation(row, link)?;
        }
        for certificate in &link.partner_keys {
            WorkingKey::certified(Some(certificate), &row.identity, &row.partner, self.origin())
                .map_err(|error| Error::bad_key(who.clone(), "link", &error))?;
        }
        Ok(invitation)
    }

    fn verify_confirmation(&self, row: &LinkRow, link: &Link) -> Result<Signed<LinkConfirmation>, Error> {
        let who = Party::Partner(row.partner.clone());
        let confirmed = certified(&link.partner_keys, row, self.origin(), |key| {
            key.verify::<LinkConfirmation>(link.confirmation.as_ref(), |said| said.time)
        })
        .map_err(|error| Error::bad_key(who.clone(), "confirmation", &error))?;
        let said = confirmed.statement();
        if said.partner != row.partner || said.acceptance != row.acceptance {
            let detail = format!("of `{}`, is by another partner or of another acceptance", row.name);
            return Err(Error::misbehaved(Party::Broker, "confirmation", "acceptance", detail));
        }
        self.0.monitor.take(&said.checkpoint.0, Met::InStatement, &who)?;
        Ok(confirmed)
    }

    fn verify_invitation(&self, package: &InvitationPackage) -> Result<VerifiedInvitation, Error> {
        let verified = package.verify(self.origin(), self.now())?;
        let invitation = verified.invitation.statement();
        let pinned = self.0.book.identity_of(&invitation.partner);
        if pinned.is_some_and(|pinned| pinned != invitation.identity) {
            let who = Party::Partner(invitation.partner.clone());
            let detail =
                "names another identity than the one that was pinned when this partner was first linked";
            return Err(Error::misbehaved(who, "invitation", "identity", detail));
        }
        Ok(verified)
    }

    pub(super) async fn sign_acceptance(&self, package: &InvitationPackage) -> Result<LinkRow, Error> {
        let verified = self.verify_invitation(package)?;
        let invitation: &Signed<LinkInvitation> = &verified.invitation;
        let said = invitation.statement();
        let who = Party::Partner(said.partner.clone());
        self.0.monitor.take(&said.checkpoint.0, Met::InStatement, &who)?;
        let key = self.0.wallet.link_key(invitation.digest());
        let code = format!("{:06}", u64::from_be_bytes(self.0.system.draw()) % CODES);
        let message = wire::LinkAcceptance {
            broker: self.origin().to_string(),
            invitation: invitation.digest().as_bytes().to_vec().into(),
            link_key: key.public().as_bytes().to_vec().into(),
            code_mac: code_mac(&verified.secret, invitation.digest(), key.public(), &code).to_vec().into(),
            time_ms: self.now().as_millis(),
        };
        let acceptance = envelope::sign::<LinkAcceptance>(&message, &[&key]);
        let name = LinkName::of(invitation.digest());
        self.0
            .book
            .enter(Entry::Linked {
                link: *invitation.digest().as_bytes(),
                partner: said.partner.to_string(),
                identity: *said.identity.as_bytes(),
                subject: said.subject.to_string(),
                label: verified.label.clone(),
                acceptance: acceptance.encode_to_vec(),
                code,
                expire_ms: said.expire_time.as_millis(),
            })
            .await?;
        self.0.book.link(&name).ok_or(Error::Misuse(Misuse::Unknown { name: name.to_string() }))
    }
}

/// The first of the certificates whose key passes the check. A link carries those of invitation and confirmation, in no
/// order that matters.
fn certified<T>(
    certificates: &[wire::Envelope],
    row: &LinkRow,
    origin: &countersign_grants::id::Origin,
    check: impl Fn(&WorkingKey) -> Result<T, countersign_grants::statement::KeyError>,
) -> Result<T, countersign_grants::statement::KeyError> {
    let mut last = None;
    for certificate in certificates {
        match WorkingKey::certified(Some(certificate), &row.identity, &row.partner, origin)
            .and_then(|key| check(&key))
        {
            Ok(good) => return Ok(good),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| {
        WorkingKey::certified(None, &row.identity, &row.partner, origin)
            .expect_err("no certificate is no key")
    }))
}
