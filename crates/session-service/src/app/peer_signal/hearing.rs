//! What was heard, and whether more would have been heard. Times are arguments.

use std::{collections::HashMap, str, time::Duration};

use tokio::time::Instant;

/// Who is not heard for so long is away: another replica, or we ourselves for our own ears.
pub(super) const SILENCE: Duration = Duration::from_secs(3);
/// Replicas beyond this many are not told apart, so that nobody who can write to Redis fills our memory.
const MAX_PEERS: usize = 1024;

/// Which replica speaks; a restart is another one.
type Id = [u8; 16];

/// Why a replica speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is there.
    Ping,
    /// There is news.
    Signal,
}

/// What is to be made of what was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// Another replica has news, or may have.
    Signal,
    /// From now on everybody is heard.
    Beginning,
}

/// What this replica hears.
pub(super) struct Hearing {
    me: u128,
    started: Instant,
    /// Since when everything that was said has come here or will.
    listening_since: Option<Instant>,
    /// When the latest of our own messages that came back was sent: everything that was said before it has come, too.
    echoed: Option<Instant>,
    signal_at: Option<Instant>,
    /// Since when there is a signal on which nobody has acted.
    waiting_since: Option<Instant>,
    peers: HashMap<u128, Instant>,
}

impl Hearing {
    pub(super) fn new(me: Id, now: Instant) -> Self {
        Self {
            me: u128::from_be_bytes(me),
            started: now,
            listening_since: None,
            echoed: None,
            signal_at: None,
            waiting_since: None,
            peers: HashMap::new(),
        }
    }

    /// A new connection listens. Those who were there before have to be heard soon.
    pub(super) fn begin(&mut self, now: Instant) {
        self.listening_since = Some(now);
        self.echoed = None;
        for heard in self.peers.values_mut() {
            *heard = now;
        }
    }

    /// Nothing is heard any more. Says whether something was.
    pub(super) fn end(&mut self) -> bool {
        self.listening_since = None;
        self.echoed.take().is_some()
    }

    pub(super) fn is_quiet_since(&self, since: Instant, now: Instant) -> bool {
        self.listening_since.is_some_and(|begin| begin <= since)
            && self.echoed.is_some_and(|sent| now.duration_since(sent) <= SILENCE)
            && self.signal_at.is_none_or(|at| at < since)
    }

    /// Whether the news of somebody has waited for so long. Later news does not make it younger.
    pub(super) fn has_waited(&self, for_at_least: Duration, now: Instant) -> bool {
        self.waiting_since.is_some_and(|since| now.duration_since(since) >= for_at_least)
    }

    /// The news was looked at by somebody who began to at `began`. What was signalled since may have come too late for that.
    pub(super) fn looked(&mut self, began: Instant) {
        let is_new = self.signal_at.is_some_and(|at| at >= began);
        self.waiting_since = self.waiting_since.filter(|_| is_new).map(|since| since.max(began));
    }

    /// What this replica says at `now`. The time is its own, since its start: only it needs to understand it.
    pub(super) fn message(&self, kind: Kind, now: Instant) -> String {
        let word = match kind {
            Kind::Ping => "ping",
            Kind::Signal => "signal",
        };
        format!("{:032x} {} {word}", self.me, now.duration_since(self.started).as_millis())
    }

    /// Takes in what was said on the channel. What cannot be understood may be news that a later version tells.
    pub(super) fn hear(&mut self, payload: &[u8], now: Instant) -> Heard {
        match parse(payload) {
            Some((id, sent, _)) if id == self.me => self.hear_myself(sent, now),
            Some((id, _, Kind::Ping)) if self.peers.contains_key(&id) || self.peers.len() < MAX_PEERS => {
                self.peers.insert(id, now);
                Heard::Nothing
            }
            other => {
                if let Some((id, ..)) = other.filter(|_| self.peers.len() < MAX_PEERS) {
                    self.peers.insert(id, now);
                }
                self.signal(now)
            }
        }
    }

    /// Looks who was not heard for too long. Whoever said nothing to the end may have had something to say: a replica that is cut off from Redis goes on
    /// revoking. Nothing at all is returned when it is we who do not hear.
    pub(super) fn look(&mut self, now: Instant) -> Option<Heard> {
        let confirmed = self.echoed.max(self.listening_since)?;
        if now.duration_since(confirmed) > SILENCE {
            return None;
        }
        let known = self.peers.len();
        self.peers.retain(|_, heard| now.duration_since(*heard) <= SILENCE);
        Some(if self.peers.len() < known { self.signal(now) } else { Heard::Nothing })
    }

    fn hear_myself(&mut self, sent: Duration, now: Instant) -> Heard {
        let sent = self.started.checked_add(sent).filter(|sent| *sent <= now);
        let Some(sent) = sent else {
            // We never said that.
            return self.signal(now);
        };
        let is_first = self.echoed.is_none();
        self.echoed = self.echoed.max(Some(sent));
        if is_first { Heard::Beginning } else { Heard::Nothing }
    }

    fn signal(&mut self, now: Instant) -> Heard {
        self.signal_at = Some(now);
        self.waiting_since.get_or_insert(now);
        Heard::Signal
    }
}

fn parse(payload: &[u8]) -> Option<(u128, Duration, Kind)> {
    let mut words = str::from_utf8(payload).ok()?.split(' ');
    let id = u128::from_str_radix(words.next()?, 16).ok()?;
    let sent = Duration::from_millis(words.next()?.parse().ok()?);
    let kind = match words.next()? {
        "ping" => Kind::Ping,
        "signal" => Kind::Signal,
        _ => return None,
    };
    words.next().is_none().then_some((id, sent, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    /// A replica that hears itself, a second after its start; and another one.
    fn two(start: Instant) -> (Hearing, Hearing) {
        let (mut one, other) = (Hearing::new([1; 16], start), Hearing::new([2; 16], start));
        one.begin(at(start, 1_000));
        let echo = one.message(Kind::Signal, at(start, 1_000));
        assert_eq!(one.hear(echo.as_bytes(), at(start, 1_001)), Heard::Beginning);
        (one, other)
    }

    fn ping(one: &mut Hearing, start: Instant, milliseconds: u64) {
        let echo = one.message(Kind::Ping, at(start, milliseconds));
        assert_eq!(one.hear(echo.as_bytes(), at(start, milliseconds + 1)), Heard::Nothing);
    }

    #[test]
    fn it_is_quiet_while_we_hear_ourselves_and_nobody_signals() {
        let start = Instant::now();
        let (mut one, other) = two(start);
        assert!(!one.is_quiet_since(at(start, 999), at(start, 1_100)), "not before it listened");
        assert!(one.is_quiet_since(at(start, 1_000), at(start, 1_100)));

        ping(&mut one, start, 2_000);
        let greeting = other.message(Kind::Ping, start);
        assert_eq!(one.hear(greeting.as_bytes(), at(start, 2_500)), Heard::Nothing);
        assert!(one.is_quiet_since(at(start, 1_000), at(start, 5_000)));
        let news = other.message(Kind::Signal, start);
        assert_eq!(one.hear(news.as_bytes(), at(start, 3_000)), Heard::Signal);
        assert!(!one.is_quiet_since(at(start, 3_000), at(start, 3_000)));
        assert!(one.is_quiet_since(at(start, 3_001), at(start, 3_100)));
        assert!(!one.is_quiet_since(at(start, 3_001), at(start, 5_001)), "it was sent three seconds ago");
    }

    #[test]
    fn an_old_message_of_ours_that_comes_late_does_not_prove_that_we_hear() {
        let start = Instant::now();
        let (mut one, _) = two(start);
        let echo = one.message(Kind::Ping, at(start, 1_500));
        one.hear(echo.as_bytes(), at(start, 4_400));
        assert!(one.is_quiet_since(at(start, 1_000), at(start, 4_500)));
        assert!(!one.is_quiet_since(at(start, 1_000), at(start, 4_501)));
    }

    #[test]
    fn a_connection_that_ends_and_one_on_which_nothing_came_back_are_not_quiet() {
        let start = Instant::now();
        let (mut one, _) = two(start);
        assert!(one.end());
        assert!(!one.is_quiet_since(at(start, 1_100), at(start, 1_100)));
        one.begin(at(start, 2_000));
        assert!(!one.is_quiet_since(at(start, 2_000), at(start, 2_000)));
        assert!(!one.end());
        assert_eq!(one.look(at(start, 2_000)), None);
    }

    #[test]
    fn we_are_deaf_when_we_do_not_hear_ourselves_for_three_seconds() {
        let start = Instant::now();
        let (mut one, _) = two(start);
        assert_eq!(one.look(at(start, 4_000)), Some(Heard::Nothing));
        assert_eq!(one.look(at(start, 4_001)), None);
    }

    #[test]
    fn a_replica_that_falls_silent_counts_as_a_signal_once() {
        let start = Instant::now();
        let (mut one, other) = two(start);
        one.hear(other.message(Kind::Ping, start).as_bytes(), at(start, 1_200));
        ping(&mut one, start, 4_000);
        assert_eq!(one.look(at(start, 4_200)), Some(Heard::Nothing));
        assert!(one.is_quiet_since(at(start, 1_000), at(start, 4_200)));
        assert_eq!(one.look(at(start, 4_201)), Some(Heard::Signal));
        assert!(!one.is_quiet_since(at(start, 1_000), at(start, 4_201)));
        assert_eq!(one.look(at(start, 4_202)), Some(Heard::Nothing));
    }

    #[test]
    fn what_nobody_of_us_said_is_a_signal() {
        let start = Instant::now();
        let (mut one, other) = two(start);
        let future = one.message(Kind::Ping, at(start, 60_000));
        let unknown = other.message(Kind::Ping, start).replace("ping", "sing");
        let longer = format!("{} {}", other.message(Kind::Ping, start), "x");
        for payload in [future.as_bytes(), unknown.as_bytes(), longer.as_bytes(), b"", b"\xff\xff"] {
            assert_eq!(one.hear(payload, at(start, 2_000)), Heard::Signal, "{payload:?}");
        }
    }

    #[test]
    fn news_that_nobody_looks_at_is_not_made_younger_by_more_of_it() {
        let start = Instant::now();
        let (mut one, other) = two(start);
        let half_a_second = Duration::from_millis(500);
        let news = other.message(Kind::Signal, start);
        for milliseconds in (1_100..1_600).step_by(100) {
            assert!(!one.has_waited(half_a_second, at(start, milliseconds)));
            one.hear(news.as_bytes(), at(start, milliseconds));
        }
        assert!(one.has_waited(half_a_second, at(start, 1_600)));
        // A look that began before the last of it.
        one.looked(at(start, 1_450));
        assert!(!one.has_waited(half_a_second, at(start, 1_949)));
        assert!(one.has_waited(half_a_second, at(start, 1_950)));
        one.looked(at(start, 1_700));
        assert!(!one.has_waited(half_a_second, at(start, 60_000)));
    }

    #[test]
    fn a_crowd_is_heard_and_not_remembered() {
        let start = Instant::now();
        let (mut one, _) = two(start);
        for number in 0..2 * MAX_PEERS {
            let id = (1_000_000 + u128::try_from(number).unwrap()).to_be_bytes();
            let expected = if number < MAX_PEERS { Heard::Nothing } else { Heard::Signal };
            let message = Hearing::new(id, start).message(Kind::Ping, start);
            assert_eq!(one.hear(message.as_bytes(), at(start, 1_100)), expected);
        }
        assert_eq!(one.peers.len(), MAX_PEERS);
    }
}
