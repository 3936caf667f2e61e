use std::sync::Mutex;

use async_rs::Runtime;
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicGetOptions, QueueDeclareOptions},
    types::FieldTable,
};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::servers;

/// A virtual host of its own on the broker, deleted with the value. Nothing is declared in it until a service connects.
#[derive(Debug)]
pub struct TestBroker {
    vhost: String,
    management: Management,
    /// Who was made for it, deleted with it.
    users: Mutex<Vec<String>>,
}

impl TestBroker {
    /// Makes the virtual host.
    pub async fn new() -> Self {
        servers::install_crypto_provider();
        let management = Management::new();
        let vhost = format!("test-{}", Uuid::new_v4().simple());
        management.send(Method::PUT, &["vhosts", &vhost], Some(json!({}))).await;
        let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        management.send(Method::PUT, &["permissions", &vhost, &management.user()], Some(everything)).await;
        Self { vhost, management, users: Mutex::default() }
    }

    /// The URL with which a service connects.
    #[must_use]
    pub fn amqp_url(&self) -> SecretString {
        self.url().to_string().into()
    }

    /// The URL of a user of its own, who may do what these regular expressions permit and no more.
    pub async fn user(&self, configure: &str, write: &str, read: &str) -> SecretString {
        let name = format!("{}-{}", self.vhost, Uuid::new_v4().simple());
        let password = Uuid::new_v4().simple().to_string();
        let user = json!({ "password": password, "tags": "" });
        self.management.send(Method::PUT, &["users", &name], Some(user)).await;
        let permissions = json!({ "configure": configure, "write": write, "read": read });
        self.management.send(Method::PUT, &["permissions", &self.vhost, &name], Some(permissions)).await;
        let mut url = self.url();
        url.set_username(&name).and_then(|()| url.set_password(Some(&password))).expect("an amqp URL");
        self.users.lock().expect("no panic while it was held").push(name);
        url.to_string().into()
    }

    /// How many messages are ready in `queue`; none where there is no such queue. Those that a consumer holds are not counted.
    pub async fn queue_length(&self, queue: &str) -> u64 {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.expect("a channel");
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        match channel.queue_declare(queue.into(), passive, FieldTable::default()).await {
            Ok(queue) => queue.message_count().into(),
            Err(_) => 0,
        }
    }

    /// Takes everything that is ready in `queue` out of it.
    pub async fn take(&self, queue: &str) -> Vec<Value> {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.expect("a channel");
        let mut messages = Vec::new();
        // An error means that there is no such queue, and therefore no message.
        while let Ok(Some(message)) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await
        {
            messages.push(serde_json::from_slice(&message.data).expect("a message in JSON"));
        }
        messages
    }

    /// Deletes a queue with everything in it, as an operator may by mistake.
    pub async fn delete_queue(&self, queue: &str) {
        self.management.send(Method::DELETE, &["queues", &self.vhost, queue], None).await;
    }

    /// Takes every way from an exchange to a queue away. Whoever published there does not notice by itself.
    pub async fn unbind(&self, exchange: &str, queue: &str) {
        let between = ["bindings", &self.vhost, "e", exchange, "q", queue];
        let bindings = self.management.send(Method::GET, &between, None).await;
        let keys =
            bindings.as_array().into_iter().flatten().filter_map(|it| it.get("properties_key")?.as_str());
        for key in keys {
            self.management.send(Method::DELETE, &[&between[..], &[key]].concat(), None).await;
        }
    }

    /// Closes every connection to this virtual host, as a broker that is being stopped does, and says how many there were.
    pub async fn close_all_connections(&self) -> usize {
        let list = self.management.send(Method::GET, &["vhosts", &self.vhost, "connections"], None).await;
        let names: Vec<_> =
            list.as_array().into_iter().flatten().filter_map(|it| it.get("name")?.as_str()).collect();
        for name in &names {
            self.management.send(Method::DELETE, &["connections", name], None).await;
        }
        names.len()
    }

    fn url(&self) -> Url {
        let mut url = servers::url("TEST_AMQP_URL");
        url.set_path(&self.vhost);
        url
    }

    async fn connect(&self) -> Connection {
        let runtime = Runtime::tokio_current();
        Connection::connect_with_runtime(self.url().as_str(), ConnectionProperties::default(), runtime)
            .await
            .expect("TEST_AMQP_URL")
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        let vhost = self.vhost.clone();
        let users = self.users.get_mut().map(std::mem::take).unwrap_or_default();
        // Its own client: that of the test belongs to the runtime of the test.
        servers::finish(async move {
            let management = Management::new();
            management.send(Method::DELETE, &["vhosts", &vhost], None).await;
            for user in users {
                management.send(Method::DELETE, &["users", &user], None).await;
            }
        });
    }
}

/// The HTTP API of the broker.
#[derive(Debug)]
struct Management {
    client: Client,
    url: Url,
}

impl Management {
    fn new() -> Self {
        Self { client: Client::new(), url: servers::url("TEST_AMQP_MANAGEMENT_URL") }
    }

    fn user(&self) -> String {
        self.url.username().to_owned()
    }

    async fn send(&self, method: Method, path: &[&str], body: Option<Value>) -> Value {
        let request = self.request(method, path);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let response = request.send().await.expect("TEST_AMQP_MANAGEMENT_URL");
        let status = response.status();
        // A connection may be gone before it is closed.
        assert!(status.is_success() || status == StatusCode::NOT_FOUND, "{path:?}: {status}");
        response.json().await.unwrap_or_default()
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.url.clone();
        url.path_segments_mut().expect("an http URL").clear().push("api").extend(path);
        url.set_username("").and_then(|()| url.set_password(None)).expect("an http URL");
        self.client.request(method, url).basic_auth(self.url.username(), self.url.password())
    }
}
