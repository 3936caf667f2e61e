//! How many mails are under way at a time.

use auth_events::commands::Lane;

/// Those of `lane`, where the most urgent one has `most`: the less urgent a lane, the fewer.
#[must_use]
pub fn workers(lane: Lane, most: u16) -> u16 {
    let workers = match lane {
        Lane::Security => most,
        Lane::Notice => most / 2,
        Lane::Bulk => most / 4,
    };
    workers.max(1)
}

/// How many of them may be to domains that are slow, however many such domains there are: the others are for all other domains.
#[must_use]
pub fn workers_for_slow_domains(lane: Lane, most: u16) -> usize {
    (usize::from(workers(lane, most)) * 3 / 4).max(1)
}

/// How many mails of any lane may be under way to one domain when one more of `lane` begins, where `most` may be at all: what is less urgent leaves
/// room for what is more so.
#[must_use]
pub fn places_at_a_domain(lane: Lane, most: usize) -> usize {
    let places = match lane {
        Lane::Security => most,
        Lane::Notice => most * 2 / 3,
        Lane::Bulk => most / 3,
    };
    places.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_places_that_only_the_more_urgent_lanes_take() {
        let places =
            |most| [Lane::Security, Lane::Notice, Lane::Bulk].map(|lane| places_at_a_domain(lane, most));
        assert_eq!(places(6), [6, 4, 2]);
        assert_eq!(places(1), [1, 1, 1]);
    }

    #[test]
    fn each_lane_has_workers_and_keeps_some_for_domains_that_are_not_slow() {
        let numbers = |most| {
            [Lane::Security, Lane::Notice, Lane::Bulk]
                .map(|lane| (workers(lane, most), workers_for_slow_domains(lane, most)))
        };
        assert_eq!(numbers(16), [(16, 12), (8, 6), (4, 3)]);
        assert_eq!(numbers(1), [(1, 1), (1, 1), (1, 1)]);
    }
}
