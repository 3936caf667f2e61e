//! The line of generations of a session's refresh tokens, and what to do with a token that comes back.

use chrono::{DateTime, TimeDelta, Utc};

/// Parallel tabs and retries: for so long after a child was handed out the parent gets the same child again.
const SAME_CHILD: TimeDelta = TimeDelta::seconds(10);
/// That a child is handed out again is stored only so long after it was stored before: a burst of tabs writes once, and nobody has less than nine seconds.
const HARDLY_LATER: TimeDelta = TimeDelta::seconds(1);
/// A client that never got the answer: for so long the parent gets a new child, if nobody has used the first one.
const LOST_ANSWER: TimeDelta = TimeDelta::minutes(10);

/// Where a line stands. There is one live generation, the current one; its parent is known for the sake of honest clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshLine {
    /// The current generation, counted from 1.
    pub generation: u64,
    /// The generation whose presentation made the current one.
    pub parent: Option<u64>,
    pub rotated_at: DateTime<Utc>,
    /// When the current generation was handed out for the last time.
    pub handed_out_at: DateTime<Utc>,
    /// Whether the current generation surely arrived: an access token of it was seen.
    pub seen: bool,
}

/// What a presented generation is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is current: a child takes its place.
    Rotate,
    /// It is the parent and came right after the child was handed out: the same child again.
    Repeat,
    /// It is the parent and the answer was lost: a new child, and the one that nobody saw dies.
    Replace,
    /// Nobody honest still holds it.
    Reuse,
}

impl RefreshLine {
    pub fn begin(now: DateTime<Utc>) -> Self {
        Self { generation: 1, parent: None, rotated_at: now, handed_out_at: now, seen: false }
    }

    pub fn judge(&self, presented: u64, now: DateTime<Utc>) -> Verdict {
        if presented == self.generation {
            return Verdict::Rotate;
        }
        if self.parent != Some(presented) {
            return Verdict::Reuse;
        }
        // Negative when the replica that rotated is ahead of us: then it was just now.
        if now - self.handed_out_at <= SAME_CHILD {
            Verdict::Repeat
        } else if now - self.rotated_at <= LOST_ANSWER && !self.seen {
            Verdict::Replace
        } else {
            Verdict::Reuse
        }
    }

    /// The line after `presented` got a new child, be it by [`Verdict::Rotate`] or [`Verdict::Replace`].
    pub fn advance(&self, presented: u64, now: DateTime<Utc>) -> Self {
        let generation = self.generation + 1;
        Self { generation, parent: Some(presented), rotated_at: now, handed_out_at: now, seen: false }
    }

    /// The line after [`Verdict::Repeat`], if that changes it. Another tab may have this answer, and calls of its browser with the parent may still be
    /// on their way: until they have arrived the child must not be replaced. Once it was seen nobody honest asks with the parent any more, and whoever
    /// does gains no time.
    pub fn hand_out_again(&self, now: DateTime<Utc>) -> Option<Self> {
        let matters = !self.seen && now - self.handed_out_at > HARDLY_LATER;
        matters.then_some(Self { handed_out_at: now, ..*self })
    }
}

#[cfg(test)]
mod tests {
    use Verdict::{Repeat, Replace, Reuse, Rotate};
    use clock::{Clock, ManualClock};

    use super::*;

    /// A step of a schedule: seconds that pass, whether the current access token is then seen, the generation presented, the verdict.
    type Step = (i64, bool, u64, Verdict);

    /// Runs a schedule that starts with generation 1 and stops at the first reuse.
    fn run(name: &str, steps: &[Step]) {
        let clock = ManualClock::new("2030-01-01T00:00:00Z".parse().unwrap());
        let mut line = RefreshLine::begin(clock.now());
        for (number, &(seconds, seen, presented, expected)) in steps.iter().enumerate() {
            clock.advance(TimeDelta::seconds(seconds));
            line.seen |= seen;
            let verdict = line.judge(presented, clock.now());
            assert_eq!(verdict, expected, "{name}, step {number}: {line:?}");
            line = match verdict {
                Rotate | Replace => line.advance(presented, clock.now()),
                Repeat => line.hand_out_again(clock.now()).unwrap_or(line),
                Reuse => line,
            };
        }
    }

    #[test]
    fn every_branch_of_the_grace_rule() {
        run("ordinary use", &[(300, true, 1, Rotate), (300, true, 2, Rotate), (300, true, 3, Rotate)]);
        run("parallel tabs", &[(300, true, 1, Rotate), (0, false, 1, Repeat), (10, true, 1, Repeat)]);
        run("a tab after the grace", &[(300, true, 1, Rotate), (11, true, 1, Reuse)]);
        run("lost answer", &[(0, true, 1, Rotate), (11, false, 1, Replace), (300, true, 3, Rotate)]);
        run("lost answer at the last moment", &[(0, true, 1, Rotate), (600, false, 1, Replace)]);
        run("too late", &[(0, true, 1, Rotate), (601, false, 1, Reuse)]);
        run(
            "answers lost twice",
            &[(0, true, 1, Rotate), (60, false, 1, Replace), (5, false, 1, Repeat), (60, false, 1, Replace)],
        );
        run(
            "the unseen child is dead",
            &[(0, true, 1, Rotate), (60, false, 1, Replace), (0, false, 2, Reuse)],
        );
        run("a grandparent", &[(0, true, 1, Rotate), (0, true, 2, Rotate), (0, false, 1, Reuse)]);
        run("from the future", &[(0, false, 2, Reuse)]);
        run(
            "a tab whose call arrives late, after an answer that got through only at the second try",
            &[(0, true, 1, Rotate), (8, false, 1, Repeat), (9, false, 1, Repeat), (300, true, 2, Rotate)],
        );
        run(
            "repeating keeps no line open that was seen",
            &[(0, true, 1, Rotate), (8, true, 1, Repeat), (9, true, 1, Reuse)],
        );
        run("thief late, owner first", &[(0, true, 1, Rotate), (60, true, 1, Reuse)]);
        run("thief first, owner late", &[(0, false, 1, Rotate), (60, true, 1, Reuse)]);
        run(
            "thief replaces the owner's unseen child",
            &[(0, false, 1, Rotate), (60, false, 1, Replace), (60, false, 2, Reuse)],
        );
    }

    #[test]
    fn a_replica_whose_clock_is_behind_does_not_punish() {
        run("rotated by a replica ahead", &[(0, true, 1, Rotate), (-90, false, 1, Repeat)]);
    }
}
