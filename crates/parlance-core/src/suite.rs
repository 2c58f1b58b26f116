//! What every [`Store`] must pass: one list of claims, shipped as code, run on the reference and on both databases.
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
//! Each claim wants a store that holds nothing. Whatever a store writes behind, it may write when it likes; a claim about what is
//! written flushes first.

mod cap;
mod ending;
mod guessing;
mod opening;
mod people;
mod races;
mod reports;
mod services;
mod touching;
mod world;

use std::sync::Arc;

use crate::ports::Store;

use self::{
    cap::*, ending::*, guessing::*, opening::*, people::*, races::*, reports::*, services::*,
    touching::*,
};

/// A claim about stores.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The claim.
    pub name: &'static str,
    /// Panics where a store breaks it. The store must hold nothing.
    pub run: fn(&Arc<dyn Store>),
}

/// Runs one claim.
///
/// # Panics
/// The store breaks it, or there is no such claim.
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
            a_login_notes_when_and_keeps_the_new_hash
            a_login_that_may_not_be_changes_nothing
            a_taken_digest_opens_nothing
            a_taken_id_opens_nothing
            a_sid_is_unique_among_those_not_ended
            allowed_rivals_go_on
            killed_rivals_end_with_the_login
            possession_continues_the_newest_rival
            possession_keeps_the_hard_end
            possession_of_nothing_opens
            possession_takes_no_other_digest
            a_renewal_sets_the_expiry_either_way
            a_dead_session_is_not_renewed
            a_session_is_closed_once
            an_expired_session_is_closed_too
            a_login_beyond_the_cap_drops_the_oldest
            the_dead_go_before_the_oldest
            what_lives_by_its_touch_is_not_the_first_to_go
            a_login_within_the_cap_drops_nothing
            many_logins_of_one_user_leave_no_more_than_the_cap
            only_a_living_session_is_revoked
            only_a_dead_session_is_forgotten
            what_died_before_is_purged_and_nothing_else
            a_purge_keeps_to_its_limit
            a_touch_counts_at_once_and_after_its_flush
            touches_merge_as_the_later_of_two
            a_touch_moves_nothing_back
            a_touch_gives_no_expiry_to_what_has_none
            a_touch_revives_nothing
            a_touch_does_not_outlive_a_renewal
            a_touch_of_nothing_is_nothing
            what_lives_by_its_touch_is_renewed
            what_lives_by_its_touch_is_possessed
            what_lives_by_its_touch_is_killed
            what_lives_by_its_touch_is_revoked
            what_lives_by_its_touch_is_neither_forgotten_nor_purged
            a_possessed_session_is_touched_under_its_new_secret
            a_user_is_found_as_he_was_made
            one_name_belongs_to_one_user
            a_row_is_kept_for_one_id_under_his_latest_name
            a_new_password_ends_his_sessions
            disabling_ends_his_sessions_and_enabling_revives_none
            an_expired_password_leaves_sessions_alone
            roles_and_freedom_change_and_sessions_go_on
            a_renamed_user_keeps_all_but_his_sessions
            a_name_is_taken_from_nobody
            a_removed_user_leaves_nothing_behind
            revoking_a_user_ends_his_sessions_alone
            revoking_all_ends_every_session
            only_an_enabled_user_is_bumped
            nobody_cannot_be_changed
            users_come_in_pages_by_canonical_name
            users_are_found_by_id_and_behind_a_name
            living_sessions_are_listed_oldest_first
            sessions_are_found_by_what_is_asked
            sessions_come_in_pages_whatever_is_dropped_meanwhile
            living_sessions_are_counted_by_dialect
            the_first_key_wins
            an_issuer_is_kept_until_another_is_to_take_its_place
            a_key_is_added_after_the_newest_that_is_known
            a_dropped_key_hands_over_to_the_next_or_to_the_spare
            a_client_is_found_as_it_was_made_until_it_is_removed
            a_place_is_taken_before_and_given_back_after
            each_failure_in_a_row_waits_as_the_ladder_says
            logins_that_find_no_place_are_counted_until_one_does
            while_failures_are_free_a_clock_that_is_behind_is_let_pass
            while_it_waits_one_at_a_time_is_let_pass
            no_more_than_the_limit_is_taken_in_a_day
            places_taken_at_once_are_as_many_as_the_limit
            a_success_gives_back_its_own_place_and_starts_anew
            a_login_that_may_not_be_keeps_its_place
            an_address_that_is_known_keeps_places_of_its_own
            a_user_is_known_from_his_latest_addresses
            addresses_in_turn_get_no_more_than_is_kept
            an_address_that_an_operator_trusts_keeps_places
            an_unlocked_account_starts_anew
            what_is_counted_goes_with_the_renamed
            a_place_of_yesterday_is_given_back_to_nobody
            untried_ladders_are_purged_and_unknown_names_are_bounded
            a_ping_is_answered
            a_renewal_never_survives_an_acknowledged_revocation
            a_touch_never_survives_an_acknowledged_end
            two_possessions_leave_one_secret
            two_kills_leave_one_session
            two_logins_at_the_cap_leave_no_more
            no_session_survives_an_acknowledged_disabling
            one_of_two_gets_the_same_digest
            one_of_two_gets_the_same_sid
            one_of_two_gets_the_same_name
            one_of_two_nodes_makes_the_first_key
            a_bad_change_takes_no_other_with_it
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
    use crate::reference::Reference;

    macro_rules! mount {
        ($($case:ident)*) => {
            $(#[test]
            fn $case() {
                let store: Arc<dyn Store> = Arc::new(Reference::default());
                run(stringify!($case), &store);
            })*
        };
    }

    store_cases!(mount);
}
