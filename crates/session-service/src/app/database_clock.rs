//! The time of PostgreSQL, which all replicas share. What one replica writes down another one compares with its own time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use clock::{Clock, SystemClock};
use diesel::{dsl::sql, select, sql_types::Timestamptz};
use diesel_async::RunQueryDsl;
use parking_lot::RwLock;
use pg::Database;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

const PERIOD: Duration = Duration::from_secs(1);
/// An answer that took longer tells too little.
const SLOWEST_ANSWER: Duration = Duration::from_millis(500);
/// Clocks that agree so far are left alone, so that time does not jump about by what an answer happened to take.
const AGREEMENT: TimeDelta = TimeDelta::milliseconds(250);

/// A clock that goes as the machine's monotonic one does and is set by PostgreSQL; until PostgreSQL has answered once it shows what the machine's clock
/// showed at the start. Whoever sets the machine's clock sets nothing here. Clones are the same.
#[derive(Debug, Clone)]
pub struct DatabaseClock {
    setting: Arc<RwLock<Setting>>,
    known: CancellationToken,
}

#[derive(Debug, Clone, Copy)]
struct Setting {
    time: DateTime<Utc>,
    at: Instant,
}

impl DatabaseClock {
    /// A clock that shows `time` now.
    pub fn new(time: DateTime<Utc>) -> Self {
        let setting = Setting { time, at: Instant::now() };
        Self { setting: Arc::new(RwLock::new(setting)), known: CancellationToken::new() }
    }

    /// A clock that PostgreSQL has set, and sets no more.
    pub async fn set_once(database: &Database) -> pg::Result<Self> {
        let clock = Self::new(SystemClock.now());
        let (time, asked, answered) = ask(database).await?;
        clock.set(time, asked, answered);
        Ok(clock)
    }

    /// Is cancelled once PostgreSQL has answered.
    pub fn known(&self) -> CancellationToken {
        self.known.clone()
    }

    /// Asks PostgreSQL each second until `stop`. While it does not answer the clock goes on.
    pub async fn keep_right(self, database: Database, stop: CancellationToken) {
        let mut is_machine_off = false;
        loop {
            match ask(&database).await {
                Ok((time, asked, answered)) => {
                    self.set(time, asked, answered);
                    let off = SystemClock.now() - self.now();
                    let was_off = std::mem::replace(&mut is_machine_off, off.abs() > TimeDelta::seconds(1));
                    if is_machine_off && !was_off {
                        warn!("The machine's clock is {off} off PostgreSQL's, which counts");
                    }
                }
                Err(error) => debug!(
                    error = &error as &dyn std::error::Error,
                    "PostgreSQL does not say what time it is"
                ),
            }
            if stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_none() {
                return;
            }
        }
    }

    /// Takes the `time` that PostgreSQL gave at some moment between `asked` and `answered`, if what is shown cannot be right.
    fn set(&self, time: DateTime<Utc>, asked: Instant, answered: Instant) {
        let took = answered.duration_since(asked);
        // The first one is better than none.
        if took > SLOWEST_ANSWER && self.known.is_cancelled() {
            return;
        }
        self.known.cancel();
        let answer = Setting { time, at: asked + took / 2 };
        let mut setting = self.setting.write();
        if (setting.shows(answered) - answer.shows(answered)).abs() > AGREEMENT {
            *setting = answer;
        }
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> DateTime<Utc> {
        self.setting.read().shows(Instant::now())
    }
}

impl Setting {
    fn shows(&self, now: Instant) -> DateTime<Utc> {
        let since = now.saturating_duration_since(self.at);
        self.time + TimeDelta::from_std(since).unwrap_or_default()
    }
}

async fn ask(database: &Database) -> pg::Result<(DateTime<Utc>, Instant, Instant)> {
    let mut conn = database.connection().await?;
    let asked = Instant::now();
    let time = select(sql::<Timestamptz>("clock_timestamp()")).get_result(&mut conn).await?;
    Ok((time, asked, Instant::now()))
}

#[cfg(test)]
mod tests {
    use test_support::{TestDatabase, eventually};

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn it_is_set_when_it_is_off_and_left_alone_when_it_may_be_right() {
        let start = Instant::now();
        let later = |milliseconds| start + Duration::from_millis(milliseconds);
        let setting = Arc::new(RwLock::new(Setting { time: at(1_090), at: start }));
        let clock = DatabaseClock { setting, known: CancellationToken::new() };
        let shows = |milliseconds| clock.setting.read().shows(later(milliseconds));
        assert_eq!(shows(2_000), at(1_092));

        clock.set(at(2_000), later(1_000), later(2_000));
        assert!(clock.known().is_cancelled());
        assert_eq!(shows(1_500), at(2_000), "nothing better was known");
        clock.set(at(3_000), later(1_000), later(2_000));
        assert_eq!(shows(1_500), at(2_000), "an answer that took a second");
        clock.set(at(1_002), later(1_990), later(2_010));
        assert_eq!(shows(3_000), at(1_003));
        clock.set(at(1_003) + AGREEMENT, later(3_000), later(3_000));
        assert_eq!(shows(3_000), at(1_003));
        clock.set(at(900), later(4_000), later(4_000));
        assert_eq!(shows(5_000), at(901));
    }

    #[tokio::test]
    async fn a_machine_that_is_off_tells_the_time_of_the_database() {
        let database = TestDatabase::new("session", crate::migrations()).await;
        for off in [TimeDelta::seconds(90), TimeDelta::seconds(-90)] {
            let clock = DatabaseClock::new(SystemClock.now() + off);
            let setting = clock.clone().keep_right(database.database("clock"), CancellationToken::new());
            let is_right = || async {
                let difference = (clock.now() - SystemClock.now()).abs();
                (difference < TimeDelta::seconds(1)).then_some(())
            };
            tokio::select! {
                () = setting => unreachable!("nobody stops it"),
                () = eventually("the clock is right", Duration::from_secs(10), is_right) => {}
            }
        }
    }
}
