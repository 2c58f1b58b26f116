//! What a service asks about a credential that a client showed it.

use crate::authority::judge;
use crate::ports::{Action, Change, Event};
use crate::session::Terms;
use crate::{Authority, Binding, Context, Credential, Failure, Session, User};

impl Authority {
    /// The session that a credential stands for, whoever holds it. A look, not a use: nothing slides, nothing is counted, and an end that
    /// is told once stays to be told. The address does not count, since the one who asks is a service and not the client. The session's
    /// expiry is the earliest moment from which on the credential counts no more.
    ///
    /// # Errors
    /// It stands for none that lives, or whether it does is not known.
    pub async fn inspect(
        &self,
        shown: &Credential,
        cx: Context<'_>,
    ) -> Result<(Session, User), Failure> {
        let found = self.store.session(shown.digest).await?;
        let (mut session, user) = found.ok_or(Failure::UnknownCredential)?;
        let terms = Terms { bind_address: Binding::Off, ..cx.mint.terms() };
        judge(&session, &user, shown, terms, cx)?;
        session.expires =
            [session.expires, session.hard_end, shown.not_after].into_iter().flatten().min();
        Ok((session, user))
    }

    /// Ends the session that a credential stands for, whoever holds it. Answers after the commit.
    ///
    /// # Errors
    /// As [`Self::inspect`]; after [`Failure::Unavailable`] it is unknown whether the session was ended.
    pub async fn revoke(&self, shown: &Credential, cx: Context<'_>) -> Result<(), Failure> {
        let (session, user) = self.inspect(shown, cx).await?;
        let closed = self.store.apply(Change::Close { id: session.id, now: cx.now }).await;
        let result = match closed {
            Ok(applied) if applied.is_done() => Ok(()),
            Ok(_) => Err(Failure::EndedSession),
            Err(error) => Err(error.into()),
        };
        self.observer.observe(&Event {
            dialect: cx.mint.dialect(),
            action: Action::End,
            failure: result.err(),
            user: Some(user.id),
            name: Some(&user.name),
            shown: None,
            peer: cx.peer,
            foreign: false,
            failures: 0,
            unreadable_hash: false,
        });
        result
    }
}
