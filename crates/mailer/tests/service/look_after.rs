//! What is done about messages that nobody asks for any more.

use auth_events::{commands::Lane, routing::mailer_queue};
use chrono::TimeDelta;
use diesel::{QueryableByName, sql_query, sql_types::Text};
use diesel_async::RunQueryDsl;
use mailer::{app::look_after::Caretaker, metrics::Metrics};
use prometheus::Registry;
use test_support::eventually;

use crate::{
    lanes::Surroundings,
    support::{DEADLINE, stopped_clock},
};

#[derive(QueryableByName)]
struct Counts {
    #[diesel(sql_type = Text)]
    counts: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn one_look_does_more_than_one_batch_of_everything() {
    let it = Surroundings::new().await;
    let mut conn = it.database.admin().connection().await.unwrap();
    // Forgotten, failed for good, over for long, and lost by the broker: of each more than a batch.
    sql_query(
        "INSERT INTO messages (id, template, locale, lane, recipient, message_id_header, state, failure, \
           command, requested_at, created_at, updated_at, expires_at) \
         SELECT gen_random_uuid(), 'test', 'en', 'security', '', '', kind.state, kind.failure, \
           kind.command, kind.since, kind.since, kind.since, kind.until \
         FROM generate_series(1, 250), (VALUES \
           ('queued', NULL, '{}'::bytea, now() - interval '2 hours', now() - interval '1 hour'), \
           ('failed', 'refused', '{}', now() - interval '2 hours', now() - interval '1 hour'), \
           ('cancelled', NULL, NULL, now() - interval '99 days', now() - interval '98 days'), \
           ('queued', NULL, '{}', now() - interval '2 hours', now() + interval '1 hour')) \
           AS kind (state, failure, command, since, until)",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let queue = mailer_queue(Lane::Security);
    eventually("the queue", DEADLINE, || async { it.bus.queue_length(queue).await.ok() }).await;

    let caretaker = Caretaker {
        database: it.database.database("test"),
        bus: it.bus.clone(),
        retention: TimeDelta::days(30),
        clock: stopped_clock(),
        metrics: Metrics::register(&Registry::new()).unwrap(),
    };
    caretaker.look_after().await.unwrap();

    let counted: Counts = sql_query(
        "SELECT string_agg(line, ', ' ORDER BY line) AS counts FROM ( \
           SELECT concat_ws(' ', count(*), state, 'with', count(command)) AS line FROM messages GROUP BY state \
         ) AS lines",
    )
    .get_result(&mut conn)
    .await
    .unwrap();
    assert_eq!(counted.counts, "250 expired with 0, 250 failed with 0, 250 queued with 250");
    eventually("the lost ones in their queue", DEADLINE, || async {
        (it.broker.queue_length(queue).await == 250).then_some(())
    })
    .await;
}
