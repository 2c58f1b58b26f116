//! Conformance suite for every [`Store`]: one list of claims, shipped as code, run on the reference and on both
//! databases.
//!
//! [`store_cases!`](crate::store_cases) names the claims, so that a crate can make a test of each:
//!
//! ```ignore
//! macro_rules! mount {
//!     ($($case:ident)*) => { $(#[test] fn $case() { parlance_core::suite::run(stringify!($case), &fresh_store()) })* };
//! }
//! parlance_core::store_cases!(mount);
//! ```
//!
//! Each claim needs an empty store. A store may delay its write-behind at will; a claim about written data flushes
//! first.

mod brute_force;
mod harness;
mod keys_and_clients;
mod logins;
mod queries;
mod races;
mod session_end;
mod session_limit;
mod touches;
mod users;

use std::sync::Arc;

use crate::ports::Store;

use self::{
    brute_force::*, keys_and_clients::*, logins::*, queries::*, races::*, session_end::*,
    session_limit::*, touches::*, users::*,
};

/// A claim about stores.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The claim.
    pub name: &'static str,
    /// Panics if a store breaks the claim. The store must be empty.
    pub run: fn(&Arc<dyn Store>),
}

/// Runs one claim.
///
/// # Panics
/// The store breaks the claim, or there is no such claim.
pub fn run(name: &str, store: &Arc<dyn Store>) {
    let case = CASES.iter().find(|case| case.name == name);
    assert!(case.is_some(), "the suite makes no claim {name}");
    case.into_iter().for_each(|case| (case.run)(store));
}

/// Calls a macro with the names of all claims.
#[macro_export]
macro_rules! store_cases {
    ($mount:ident) => {
        $mount! {
            an_opened_session_is_found_as_it_was_opened
            extreme_times_and_empty_fields_come_back
            an_unknown_digest_finds_nothing
            a_login_sets_the_last_login_and_the_new_hash
            a_refused_login_changes_nothing
            a_duplicate_digest_opens_nothing
            a_duplicate_id_opens_nothing
            a_public_id_is_unique_among_unrevoked_sessions
            allow_keeps_the_other_sessions
            end_others_ends_the_live_sessions_of_the_dialect
            take_over_continues_the_newest_session
            take_over_keeps_the_hard_end
            take_over_without_a_live_session_opens_one
            take_over_refuses_a_duplicate_digest
            a_renewal_sets_the_expiry_either_way
            a_dead_session_is_not_renewed
            a_session_is_ended_once
            an_expired_session_can_be_ended
            a_login_beyond_the_session_limit_drops_the_oldest
            dead_sessions_are_dropped_before_the_oldest
            a_session_kept_live_by_a_touch_is_not_dropped_first
            a_login_within_the_session_limit_drops_nothing
            many_logins_of_one_user_stay_within_the_session_limit
            only_a_live_session_is_revoked
            only_a_dead_session_is_deleted
            a_purge_drops_only_sessions_that_died_before_its_moment
            a_purge_keeps_to_its_limit
            a_touch_counts_at_once_and_after_its_flush
            touches_merge_as_the_later_of_two
            a_touch_never_moves_a_time_back
            a_touch_gives_no_expiry_to_an_endless_session
            a_touch_never_revives_a_session
            a_touch_does_not_outlive_a_renewal
            a_touch_of_an_unknown_session_is_ignored
            a_session_kept_live_by_a_touch_is_renewed
            a_session_kept_live_by_a_touch_is_taken_over
            a_session_kept_live_by_a_touch_is_ended_by_end_others
            a_session_kept_live_by_a_touch_is_revoked
            a_session_kept_live_by_a_touch_is_neither_deleted_nor_purged
            a_taken_over_session_is_touched_under_its_new_secret
            a_user_is_found_as_added
            one_name_belongs_to_one_user
            an_external_user_has_one_row_under_the_latest_name
            a_new_password_ends_the_sessions_of_the_user
            disabling_a_user_ends_the_sessions_and_enabling_revives_none
            an_expired_password_keeps_sessions
            role_changes_keep_sessions
            a_renamed_user_keeps_everything_but_the_sessions
            a_rename_never_takes_the_name_of_another_user
            a_removed_user_leaves_no_session
            revoking_a_user_ends_only_the_sessions_of_that_user
            revoking_all_ends_every_session
            a_login_is_recorded_only_for_an_enabled_user
            changes_to_an_unknown_user_or_session_are_refused
            users_come_in_pages_by_canonical_name
            users_are_found_by_id_and_after_a_name
            live_sessions_are_listed_oldest_first
            sessions_are_filtered_by_every_query_field
            session_pages_are_stable_while_sessions_are_dropped
            live_sessions_are_counted_by_dialect
            the_first_key_wins
            an_issuer_is_replaced_only_on_request
            a_key_is_added_only_after_the_expected_newest
            a_dropped_signing_key_is_followed_by_the_next_or_the_fallback
            a_client_is_found_as_added_until_removed
            an_attempt_is_reserved_and_released
            consecutive_failures_delay_the_next_login
            refused_attempts_are_counted_until_one_is_reserved
            a_clock_that_is_behind_is_not_delayed_during_free_failures
            a_delayed_account_admits_one_attempt_at_a_time
            attempts_of_a_day_stay_within_the_limit
            concurrent_attempts_reach_the_limit_exactly
            a_success_releases_its_attempt_and_resets_the_failures
            a_refused_login_keeps_its_attempt_reserved
            a_trusted_address_has_attempts_of_its_own
            the_latest_login_addresses_are_trusted
            trusted_addresses_together_stay_within_their_limit
            an_address_trusted_by_an_operator_has_attempts_of_its_own
            unlocking_resets_an_account
            attempt_counts_follow_a_rename
            an_attempt_of_yesterday_is_not_released_today
            idle_attempt_rows_are_purged_and_unknown_names_are_bounded
            a_ping_is_answered
            a_renewal_never_survives_an_acknowledged_revocation
            a_touch_never_survives_an_acknowledged_end
            two_takeovers_leave_one_secret
            two_logins_that_end_others_leave_one_session
            two_logins_at_the_session_limit_stay_within_it
            no_session_survives_an_acknowledged_disabling
            one_of_two_gets_the_same_digest
            one_of_two_gets_the_same_public_id
            one_of_two_gets_the_same_name
            one_of_two_nodes_makes_the_first_key
            a_failed_change_does_not_affect_its_batch
        }
    };
}

macro_rules! table {
    ($($case:ident)*) => {
        /// Every claim.
        pub const CASES: &[Case] = &[$(Case { name: stringify!($case), run: $case }),*];
    };
}

store_cases!(table);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::ReferenceStore;

    macro_rules! mount {
        ($($case:ident)*) => {
            $(#[test]
            fn $case() {
                let store: Arc<dyn Store> = Arc::new(ReferenceStore::default());
                run(stringify!($case), &store);
            })*
        };
    }

    store_cases!(mount);
}
