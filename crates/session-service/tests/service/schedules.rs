//! Random schedules of honest clients and thieves, through the real service. For every session, whatever happens to its calls:
//!
//! - there are never two live generations: each answer continues the one line, or is the same again;
//! - without a thief no honest client is ever logged out;
//! - when a thief and the owner both go on, the session ends before both have refreshed outside of the ten seconds of grace.
//!
//! A batch of schedules shares two replicas and their clock and goes in rounds. `SCHEDULES` says how many there are; a failure says how to see it
//! again.

mod line;
mod owner;
mod plan;
mod schedule;
mod thief;

use futures::{StreamExt, stream};
use plan::Plan;
use rand::{SeedableRng, rngs::StdRng};
use schedule::{Outcome, Schedule};
use test_support::{TestDatabase, eventually};

use crate::harness::{DEADLINE, Running, execute, query, start_two};

const BATCH: usize = 250;
/// Batches at the same time.
const WORKERS: usize = 2;
/// Schedules of a batch whose calls are under way together; no more, so that none waits for a connection.
const TOGETHER: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn ref_05_no_schedule_makes_two_live_generations_or_logs_an_honest_client_out() {
    let count = number("SCHEDULES").map_or(1000, |count| usize::try_from(count).unwrap());
    let seed = number("SCHEDULES_SEED").unwrap_or(0x5eed);
    let batches: Vec<(u64, usize)> = (seed..)
        .zip((0..count).step_by(BATCH))
        .map(|(seed, begun)| (seed, BATCH.min(count - begun)))
        .collect();
    let workers = (0..WORKERS).map(|worker| {
        let batches: Vec<_> = batches.iter().copied().skip(worker).step_by(WORKERS).collect();
        async move {
            let world = World::start().await;
            for (seed, size) in batches {
                world.run(seed, size).await;
            }
        }
    });
    futures::future::join_all(workers).await;
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?.into_string().unwrap();
    Some(text.parse().expect("a number"))
}

/// Two replicas on a database of their own.
pub struct World {
    database: TestDatabase,
    pub replicas: [Running; 2],
}

impl World {
    async fn start() -> Self {
        let (database, one, other) = start_two().await;
        Self { database, replicas: [one, other] }
    }

    async fn run(&self, seed: u64, size: usize) {
        let plan = Plan::new(&mut StdRng::seed_from_u64(seed));
        let mut schedules: Vec<Schedule> = stream::iter(0..size)
            .map(|index| Schedule::begin(self, seed, index))
            .buffered(TOGETHER)
            .collect()
            .await;
        for round in &plan.rounds {
            self.replicas[0].advance(round.gap);
            schedules = self.each(schedules, async |it| it.play(self, round).await).await;
            if round.look {
                schedules = self.each(schedules, async |it| it.look(self).await).await;
                self.until_stored(&schedules).await;
                schedules.iter_mut().for_each(Schedule::looked);
            }
        }
        schedules = self.each(schedules, async |it| it.finish(self).await).await;
        self.compare_with_what_is_stored(&schedules).await;
    }

    /// Lets every schedule take a step; the first that is violated ends the test.
    async fn each(
        &self,
        schedules: Vec<Schedule>,
        step: impl AsyncFn(&mut Schedule) -> Outcome,
    ) -> Vec<Schedule> {
        let step = &step;
        stream::iter(schedules)
            .map(async |mut schedule| {
                if let Err(violation) = step(&mut schedule).await {
                    panic!("{violation}\n{schedule}");
                }
                schedule
            })
            .buffered(TOGETHER)
            .collect()
            .await
    }

    /// Waits until the replicas have stored which generations were seen.
    async fn until_stored(&self, schedules: &[Schedule]) {
        let ids: Vec<String> =
            schedules.iter().filter_map(|it| it.expected_to_be_seen()).map(|id| format!("'{id}'")).collect();
        if ids.is_empty() {
            return;
        }
        let unseen = format!(
            "SELECT id::text AS text FROM sessions WHERE NOT generation_seen AND id IN ({})",
            ids.join(",")
        );
        eventually("sightings to be stored", DEADLINE, || async {
            query(&self.database, &unseen).await.is_empty().then_some(())
        })
        .await;
    }

    /// Those sessions have ended whose line has, for that reason, and each was told once. Verifiers were told of no others; whom no access token can
    /// outlive any more is forgotten there.
    async fn compare_with_what_is_stored(&self, schedules: &[Schedule]) {
        let mut expected: Vec<&str> =
            schedules.iter().filter(|it| it.is_over()).map(|it| it.session.as_str()).collect();
        expected.sort_unstable();
        for stored in [
            "SELECT id::text AS text FROM sessions WHERE revoked_reason = 'refresh_token_reused' ORDER BY id",
            "SELECT payload::jsonb #>> '{data,detail,sessionId}' AS text FROM outbox
              WHERE routing_key LIKE '%session.refresh_reuse_detected' ORDER BY 1",
        ] {
            assert_eq!(query(&self.database, stored).await, expected, "{stored}");
        }
        let revoked = "SELECT session_id::text AS text FROM revocations WHERE session_id IS NOT NULL";
        for session in query(&self.database, revoked).await {
            assert!(expected.contains(&session.as_str()), "{session} is revoked, and its line goes on");
        }
        // The next batch begins with empty tables.
        execute(&self.database, "TRUNCATE outbox, revocations, sessions").await;
    }
}
