//! Introspection and revocation: a service asks about a credential that a client presented.

use crate::authority::check_credential;
use crate::ports::{Action, Change, Event};
use crate::session::SessionPolicy;
use crate::{AddressBinding, Authority, Context, Credential, Failure, Session, User};

impl Authority {
    /// Introspection: the session of a credential, for any holder of the credential. No use: nothing slides, nothing is
    /// counted, and an end that is reported once stays to be reported. The address does not count, since the caller is
    /// a service and not the client. The session's expiry is the earliest moment from which on the credential is
    /// invalid.
    ///
    /// # Errors
    /// No living session has the credential, or the answer is unknown.
    pub async fn introspect(
        &self,
        shown: &Credential,
        cx: Context<'_>,
    ) -> Result<(Session, User), Failure> {
        let found = self.report_error(self.store.session(shown.digest).await)?;
        let (mut session, user) = found.ok_or(Failure::UnknownCredential)?;
        let session_policy = SessionPolicy {
            address_binding: AddressBinding::Off,
            ..cx.token_issuer.session_policy()
        };
        check_credential(&session, &user, shown, session_policy, cx)?;
        session.expires =
            [session.expires, session.hard_end, shown.not_after].into_iter().flatten().min();
        Ok((session, user))
    }

    /// Revocation: ends the session of a credential, for any holder of the credential. Answers after the commit.
    ///
    /// # Errors
    /// As [`Self::introspect`]. After [`Failure::Unavailable`] the effect on the session is unknown.
    pub async fn revoke(&self, shown: &Credential, cx: Context<'_>) -> Result<(), Failure> {
        let (session, user) = self.introspect(shown, cx).await?;
        let ended = self.store.apply(Change::EndSession { id: session.id, now: cx.now }).await;
        let result = match self.report_error(ended) {
            Ok(applied) if applied.is_done() => Ok(()),
            Ok(_) => Err(Failure::RevokedOrExpired),
            Err(failure) => Err(failure),
        };
        self.observer.observe(&Event {
            dialect: cx.token_issuer.dialect(),
            action: Action::Logout,
            failure: result.err(),
            user: Some(user.id),
            user_name: Some(&user.name),
            presented_name: None,
            peer: cx.peer,
            unexpected_address: false,
            previous_failures: 0,
            unreadable_hash: false,
        });
        result
    }
}
