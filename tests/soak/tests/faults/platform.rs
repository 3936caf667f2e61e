use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use e2e::{
    Stack,
    balancer::Balancer,
    crowd::{Crowd, Done},
    stack::PATIENCE,
    traffic::{Answer, beside},
};
use futures::FutureExt;
use redis::aio::MultiplexedConnection;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use test_support::eventually;

const USERS: usize = 60;
const WRONG_PASSWORD: &str = "not the right password";
/// What an account allows before it makes its owner wait.
pub const GUESSES: usize = 5;
/// And for how long, less the time that a guess takes.
const PAUSE: Duration = Duration::from_secs(25);

/// Two replicas of everything, with limits, users, and clients all over the world.
pub struct Platform {
    pub stack: Stack,
    pub crowd: Crowd,
    pub balancer: Balancer,
    http: Client,
    apis: [String; 2],
    networks: AtomicU32,
}

impl Platform {
    pub async fn start(variables: &[(&str, String)]) -> Self {
        let ours = [("SEED_USERS", USERS.to_string()), ("CAPTCHA", "off".to_owned())];
        let stack = Stack::start_replicas(&[&ours, variables].concat()).await;
        let crowd = Crowd::logged_in(&stack, "ada@example.com", 5).await;
        let apis = ["API_URL", "API_URL_2"].map(|name| stack.variable(name));
        let balancer = Balancer::of_both(&stack);
        Self { stack, crowd, balancer, http: Client::new(), apis, networks: AtomicU32::new(1 << 24) }
    }

    /// A connection to Redis, as soon as it takes one.
    pub async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.stack.variable("REDIS_URL")).unwrap();
        let connected = || async { client.get_multiplexed_async_connection().await.ok() };
        eventually("Redis is there", PATIENCE, connected).await
    }

    /// From a network of its own, so that no limit of an address is in the way, to each replica in turn.
    pub async fn post(&self, path: &str, request: &Value) -> Response {
        let network = self.networks.fetch_add(1 << 8, Ordering::Relaxed);
        self.post_from(&Ipv4Addr::from_bits(network | 7).to_string(), path, request).await
    }

    async fn post_from(&self, address: &str, path: &str, request: &Value) -> Response {
        let turn = self.networks.fetch_add(1 << 8, Ordering::Relaxed) >> 8;
        let [first, second] = &self.apis;
        let api = if turn % 4 < 2 { first } else { second };
        let request = self.http.post(format!("{api}{path}")).header("x-forwarded-for", address).json(request);
        request.send().await.unwrap()
    }

    /// Asks for what is never answered from memory.
    pub async fn security(&self, access_token: &str) -> [StatusCode; 2] {
        let ask = async |api: &String| {
            let request = self.http.request(Method::GET, format!("{api}/v1/auth/2fa"));
            request.bearer_auth(access_token).send().await.unwrap().status()
        };
        let [first, second] = &self.apis;
        [ask(first).await, ask(second).await]
    }

    pub async fn log_in(&self, user: usize) -> Value {
        let answer = self.post("/v1/auth/login", &credentials(user)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    /// How many of twenty guesses at an account from twenty networks are judged, or of those that can be made before the owner's wait is over;
    /// `strike` comes before each.
    pub async fn judged_guesses(&self, user: usize, strike: impl AsyncFn()) -> usize {
        let mut judged = 0;
        let mut last_judged = Instant::now();
        for _ in 0..20 {
            strike().await;
            if judged >= GUESSES && last_judged.elapsed() > PAUSE {
                break;
            }
            let request = json!({"email": email(user), "password": WRONG_PASSWORD});
            let answer = self.post("/v1/auth/login", &request).await.status();
            assert!([StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&answer), "{answer}");
            if answer == StatusCode::UNAUTHORIZED {
                judged += 1;
                last_judged = Instant::now();
            }
        }
        judged
    }

    /// How many of forty logins from one address, to accounts that nobody has, are judged.
    pub async fn judged_from_one_address(&self, address: &str) -> usize {
        let mut judged = 0;
        for number in 0..40 {
            let request = json!({"email": format!("nobody{number}@example.com"), "password": WRONG_PASSWORD});
            let answer = self.post_from(address, "/v1/auth/login", &request).await.status();
            judged += usize::from(answer == StatusCode::UNAUTHORIZED);
        }
        judged
    }

    /// What users do in ten seconds: log in, look, and stay logged in.
    pub async fn everyday_life(&self) -> Vec<Answer> {
        let day = tokio::time::sleep(Duration::from_secs(10));
        let ((), answers) = beside(day, 12, |number| match number % 3 {
            0 => self.login_of(number / 3 % USERS),
            1 => self.crowd.me(number, &self.balancer),
            _ => self.crowd.refresh(number, &self.balancer),
        })
        .await;
        answers
    }

    fn login_of(&self, user: usize) -> Done {
        let network = self.networks.fetch_add(1 << 8, Ordering::Relaxed);
        let [api, _] = &self.apis;
        let request = self.http.post(format!("{api}/v1/auth/login")).json(&credentials(user));
        let request = request.header("x-forwarded-for", Ipv4Addr::from_bits(network | 7).to_string());
        async move {
            let status = request.send().await.map_err(|error| format!("login: {error:?}"))?.status();
            if status == StatusCode::OK { Ok(()) } else { Err(format!("login: {status}")) }
        }
        .boxed()
    }
}

fn email(user: usize) -> String {
    format!("user{}@example.com", user + 1)
}

fn credentials(user: usize) -> Value {
    json!({"email": email(user), "password": format!("CorrectHorseBattery{}", user + 1)})
}
