use std::time::Duration;

use chaos::{Faults, Proxy};
use e2e::{ledger, traffic::beside};
use rustix::process::Signal;
use secrecy::ExposeSecret;
use soak::life::all_are_answered;
use tokio::time::sleep;

use super::{Platform, SETTLED, chain_is_whole};

const LASTS: Duration = Duration::from_secs(10);
/// As often as PostgreSQL says that a disk is full.
const FULL: &str = "CREATE FUNCTION audit.disk_is_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$; \
    CREATE TRIGGER disk_is_full BEFORE INSERT ON audit.events FOR EACH ROW EXECUTE FUNCTION audit.disk_is_full()";
const NOT_FULL: &str = "DROP TRIGGER disk_is_full ON audit.events; DROP FUNCTION audit.disk_is_full()";

#[tokio::test(flavor = "multi_thread")]
async fn fx_au_04_while_the_audit_database_is_away_slow_or_full_the_queue_keeps_everything() {
    let Platform { far, smtp, life } = Platform::start().await;
    let stack = &far.stack;
    let name = "audit_app-database-url";
    let own = std::fs::read_to_string(stack.state().join("secrets").join(name)).unwrap();
    let mut way = Proxy::present(&own.trim().to_owned().into()).await;
    stack.rewire(name, way.url().expose_secret());
    stack.replace("AUDIT_SERVICE_PID", "AUDIT_MGMT", Signal::KILL).await;
    let (mut answers, mut report) = (Vec::new(), Vec::new());
    for fault in ["away", "mute", "slow", "full"] {
        match fault {
            "away" => way.vanish().await,
            "mute" => way.fall_silent(),
            "slow" => way.suffer(Faults::latency(Duration::from_millis(300))),
            _ => drop(stack.sql(FULL).await),
        }
        let ((), during) = beside(sleep(LASTS), 40, |number| life.request(number)).await;
        answers.extend(during);
        let (stored, _) = ledger::audited(stack, "session.refreshed").await;
        report.push(format!("{fault}: {stored} of {} refreshes stored", life.refreshed()));
        match fault {
            "away" => way.appear().await,
            "mute" => way.talk_again(),
            "slow" => way.recover(),
            _ => drop(stack.sql(NOT_FULL).await),
        }
        let (balance, audited, twice) = life.settled(stack, &smtp, SETTLED).await;
        assert!(balance.is_exact(), "{fault}: {balance}");
        assert!(audited >= life.refreshed() && twice == 0, "{fault}: {audited} audited, {twice} twice");
        assert_eq!(far.broker.queue_length("audit.dead").await, 0, "{fault}: nothing is dropped");
    }
    println!("fx_au_04: {}", report.join("; "));
    all_are_answered(&answers);
    chain_is_whole(stack);
}
