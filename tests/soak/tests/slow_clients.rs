//! Clients that send slowly must not keep others from being served.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use e2e::Stack;
use soak::{
    load::{Load, outcome},
    memory::resident_mib,
    raw::{Farewell, drip},
};
use tokio::task::JoinSet;

const CLIENTS: usize = 4;

/// A head that never ends: its deadline is 5 s, whatever still arrives.
#[tokio::test(flavor = "multi_thread")]
async fn inp_09_slow_heads_are_cut_off_and_others_are_served() {
    let stack = Stack::start(&[]).await;
    let head = "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
    let (farewells, [idle, busy]) =
        besides_traffic(&stack, 500, head, b"x", Duration::from_secs(4), Duration::from_secs(12)).await;
    println!("idle: {idle}\nbusy: {busy}");
    for Farewell { answer, lived } in &farewells {
        let lived = lived.expect("the connection is ended");
        assert!(lived < Duration::from_secs(8), "{lived:?}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    others_were_served(&idle, &busy);
}

/// A body that never ends, of a stated length and in chunks: its deadline is 10 s.
#[tokio::test(flavor = "multi_thread")]
async fn inp_10_slow_bodies_are_refused_and_others_are_served() {
    let stack = Stack::start(&[]).await;
    let pid = stack.variable("AUTH_API_PID");
    let before = resident_mib(&pid);
    let head = |length: &str| {
        format!(
            "POST /v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
        )
    };
    for (framing, rest) in
        [("Content-Length: 16000", &b" "[..]), ("Transfer-Encoding: chunked", b"1\r\n \r\n")]
    {
        let second = Duration::from_secs(1);
        let (farewells, [idle, busy]) =
            besides_traffic(&stack, 250, &head(framing), rest, second, 20 * second).await;
        println!("{framing}\nidle: {idle}\nbusy: {busy}");
        for Farewell { answer, lived } in &farewells {
            let lived = lived.expect("the connection is ended");
            assert!(lived > 9 * second && lived < 14 * second, "{framing}: {lived:?}");
            assert!(
                answer.starts_with("HTTP/1.1 4") && answer.contains("application/problem+json"),
                "{answer}"
            );
            assert!(answer.contains(r#""code":"incomplete_body""#), "{answer}");
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        }
        others_were_served(&idle, &busy);
    }
    let after = resident_mib(&pid);
    println!("{before} MiB before, {after} MiB after");
    assert!(after < before + 64, "{before} MiB grew to {after} MiB");
}

/// What becomes of `count` slow connections, and of ordinary traffic without and beside them.
async fn besides_traffic(
    stack: &Stack,
    count: usize,
    head: &str,
    rest: &'static [u8],
    pause: Duration,
    patience: Duration,
) -> (Vec<Farewell>, [Load; 2]) {
    let url = stack.variable("API_URL");
    let http = reqwest::Client::new();
    let traffic = || {
        let (http, url) = (http.clone(), url.clone());
        let request = move || outcome(http.get(format!("{url}/v1/auth/config")));
        Load::closed_loop(CLIENTS, Duration::from_secs(5), request)
    };
    let idle = traffic().await;
    let address = url.strip_prefix("http://").unwrap().to_owned();
    let mut slow = JoinSet::new();
    for _ in 0..count {
        let (address, head) = (address.clone(), head.to_owned());
        slow.spawn(async move { drip(&address, &head, rest, pause, patience).await.unwrap() });
    }
    let busy = traffic().await;
    (slow.join_all().await, [idle, busy])
}

fn others_were_served(idle: &Load, busy: &Load) {
    assert_eq!(busy.count_of(Some(200)), busy.count(), "{busy}");
    let limit = (idle.percentile(95) * 3).max(Duration::from_millis(50));
    assert!(busy.percentile(95) <= limit, "p95 {:?} became {:?}", idle.percentile(95), busy.percentile(95));
}
