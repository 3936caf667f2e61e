//! The program that is used by hand.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

struct Program {
    process: Child,
    control: String,
    http: Client,
}

impl Program {
    fn start(server: &str) -> Self {
        test_support::install_crypto_provider();
        let mut process = Command::new(env!("CARGO_BIN_EXE_chaos-proxy"))
            .args(["--route", &format!("echo=127.0.0.1:0,{server}"), "--control", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let control = lines.map(Result::unwrap).find_map(|line| Some(line.split_once(" at ")?.1.to_owned()));
        Self { process, control: control.unwrap(), http: Client::new() }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let request = self.http.request(method, format!("{}{path}", self.control)).body(body.to_string());
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn faults_are_switched_by_http() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let program = Program::start(&server.local_addr().unwrap().to_string());
    let (status, routes) = program.ask(Method::GET, "/", Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let listen = routes["echo"]["listen"].as_str().unwrap().to_owned();
    assert_eq!(routes["echo"]["faults"]["silent"], false);

    let (_, route) = program.ask(Method::PUT, "/echo/faults", json!({"latencyFromServerMs": 5000})).await;
    assert_eq!(route["faults"]["latencyFromServerMs"], 5000);
    let (_, route) = program.ask(Method::POST, "/echo/vanish", Value::Null).await;
    assert_eq!(route["present"], false);
    assert!(TcpStream::connect(&listen).await.is_err());
    let (_, route) = program.ask(Method::POST, "/echo/appear", Value::Null).await;
    assert_eq!(route["present"], true);
    assert!(TcpStream::connect(&listen).await.is_ok());
    let trigger = json!({"pattern": "amqp_publish", "every": 9, "times": 100, "cut": "before"});
    for (method, path, body) in [
        (Method::PUT, "/echo/trigger", trigger),
        (Method::DELETE, "/echo/trigger", Value::Null),
        (Method::POST, "/echo/reset", Value::Null),
        (Method::POST, "/echo/half-close/to_server", Value::Null),
        (Method::POST, "/echo/recover", Value::Null),
    ] {
        assert_eq!(program.ask(method, path, body).await.0, StatusCode::OK, "{path}");
    }
    let (_, route) = program.ask(Method::GET, "/echo", Value::Null).await;
    assert_eq!(route["faults"]["latencyFromServerMs"], 0);
    for (method, path, body, expected) in [
        (Method::GET, "/other", Value::Null, StatusCode::NOT_FOUND),
        (Method::PUT, "/echo/faults", json!({"latency": 1}), StatusCode::BAD_REQUEST),
        (Method::PUT, "/echo/trigger", json!({"pattern": ""}), StatusCode::BAD_REQUEST),
        (Method::POST, "/echo/explode", Value::Null, StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(program.ask(method, path, body).await.0, expected, "{path}");
    }
}
