//! Mails through `SendGrid`'s API, played by a server that says what it was told to.

use std::{collections::VecDeque, sync::Arc};

use crate::support::{Keys, Order, database, postman_with, smtp_provider, stopped_clock};
use axum::{Router, body::Bytes, extract::State, http::HeaderMap, response::IntoResponse, routing::post};
use mailer::{
    app::{
        deliver::{Delivery, Postman},
        get_message::get_message,
    },
    domain::{message::Message, provider::ProviderName},
    mail::{providers::ProviderSettings, sendgrid::SendGridSettings},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use test_support::TestDatabase;
use tokio::net::TcpListener;

#[derive(Clone, Default)]
struct Api {
    answers: Arc<Mutex<VecDeque<(u16, &'static str)>>>,
    requests: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
}

impl Api {
    /// Starts it; answers in their order, and then 202.
    #[expect(clippy::disallowed_methods, reason = "a test has no lifecycle")]
    async fn start(answers: &[(u16, &'static str)]) -> (Self, ProviderSettings) {
        let api = Self::default();
        api.answers.lock().extend(answers);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route("/v3/mail/send", post(answer)).with_state(api.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let settings = SendGridSettings { base_url, api_key: "SG.hush".to_owned().into() };
        (api, ProviderSettings::SendGrid(settings))
    }
}

async fn answer(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    api.requests.lock().push((headers, serde_json::from_slice(&body).unwrap()));
    let (status, text) = api.answers.lock().pop_front().unwrap_or((202, ""));
    (axum::http::StatusCode::from_u16(status).unwrap(), [("x-message-id", "its-id")], text)
}

struct Surroundings {
    _database: TestDatabase,
    keys: Keys,
    postman: Postman,
}

impl Surroundings {
    async fn new(providers: Vec<ProviderSettings>) -> Self {
        let database = database().await;
        let postman = postman_with(database.database("test"), providers, stopped_clock());
        Self { _database: database, keys: Keys::new(), postman }
    }

    async fn deliver(&self, order: &Order) -> (Delivery, Message) {
        let delivery = self.postman.deliver(&order.command(&self.keys)).await.unwrap();
        (delivery, get_message(&self.postman.database, order.id).await.unwrap().0)
    }
}

#[tokio::test]
async fn a_mail_goes_to_sendgrid_when_no_mail_server_is_there_and_no_link_is_tracked() {
    test_support::install_crypto_provider();
    let (api, sendgrid) = Api::start(&[]).await;
    let nobody = smtp_provider(ProviderName::Smtp, "smtp://127.0.0.1:9");
    let it = Surroundings::new(vec![nobody, sendgrid]).await;
    let order = Order::verify_email("ada@example.test");
    let (delivery, message) = it.deliver(&order).await;
    assert_eq!((delivery, message.provider.as_deref()), (Delivery::Over, Some("sendgrid")));
    assert_eq!(message.last_reply.as_deref(), Some("202 its-id"));
    let requests = api.requests.lock();
    let (headers, body) = &requests[0];
    assert_eq!(headers["authorization"], "Bearer SG.hush");
    assert_eq!(body["personalizations"], json!([{ "to": [{ "email": "ada@example.test" }] }]));
    assert_eq!(body["from"], json!({ "email": "no-reply@auth.example", "name": "Acme" }));
    assert_eq!(body["headers"]["Message-ID"], message.message_id_header);
    assert_eq!(body["headers"]["Auto-Submitted"], "auto-generated");
    assert_eq!(body["tracking_settings"]["click_tracking"]["enable"], false);
    assert_eq!(body["tracking_settings"]["open_tracking"]["enable"], false);
    assert!(body["content"][0]["value"].as_str().unwrap().contains("fat_secret"));
}

#[tokio::test]
async fn each_answer_of_sendgrid_has_its_meaning() {
    test_support::install_crypto_provider();
    for (status, delivered, failure) in [
        (400, true, Some("refused")),
        (413, true, Some("refused")),
        (401, false, None),
        (429, false, None),
        (500, false, None),
        (503, false, None),
        (504, false, None),
        (302, false, None),
    ] {
        let (_api, sendgrid) = Api::start(&[(status, "because")]).await;
        let it = Surroundings::new(vec![sendgrid]).await;
        let (delivery, message) = it.deliver(&Order::verify_email("ada@example.test")).await;
        assert_eq!(delivery == Delivery::Over, delivered, "{status}: {delivery:?}");
        assert_eq!(message.failure.as_deref(), failure, "{status}");
        assert_eq!(message.last_reply, Some(format!("{status} because")));
    }
}
