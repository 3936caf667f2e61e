use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    transport::smtp::{
        Error,
        authentication::{Credentials, Mechanism},
        client::{Certificate as Root, Tls, TlsParameters},
        response::Response,
    },
};
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::*;
use crate::eventually;

const SOON: Duration = Duration::from_secs(10);
/// Long enough to say that no answer comes.
const QUIET: Duration = Duration::from_millis(500);

fn mail(to: &str) -> Message {
    let message = Message::builder().from("no-reply@example.com".parse().unwrap()).to(to.parse().unwrap());
    message.message_id(Some("<1@example.com>".to_owned())).body(".a dot\r\n".to_owned()).unwrap()
}

async fn send_as(
    server: &SmtpServer,
    to: &str,
    tls: Tls,
    login: Option<(&str, &str, Mechanism)>,
) -> Result<Response, Error> {
    let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("localhost");
    let mut builder = builder.port(server.address().port()).tls(tls);
    if let Some((user, password, mechanism)) = login {
        builder = builder.credentials(Credentials::new(user.to_owned(), password.to_owned()));
        builder = builder.authentication(vec![mechanism]);
    }
    builder.build().send(mail(to)).await
}

async fn send(server: &SmtpServer, to: &str) -> Result<Response, Error> {
    send_as(server, to, Tls::None, None).await
}

fn code(result: &Result<Response, Error>) -> Option<u16> {
    match result {
        Ok(response) => Some(response.code().into()),
        Err(error) => error.status().map(u16::from),
    }
}

fn trusting() -> TlsParameters {
    crate::install_crypto_provider();
    let root = Root::from_pem(ca_pem().as_bytes()).unwrap();
    TlsParameters::builder("localhost".to_owned()).add_root_certificate(root).build().unwrap()
}

#[tokio::test]
async fn what_was_accepted_is_there_as_it_was_sent() {
    let server = SmtpServer::plain().await;
    assert_eq!(code(&send(&server, "ada@example.com").await), Some(250));
    let mails = server.mails_to("Ada@Example.com");
    let [mail] = mails.as_slice() else { panic!("{mails:?}") };
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("no-reply@example.com", &["ada@example.com".to_owned()][..])
    );
    assert_eq!(mail.message_id.as_deref(), Some("1@example.com"));
    // The client ends what ends already once more.
    assert!(mail.text().ends_with("\r\n\r\n.a dot\r\n\r\n"), "{}", mail.text());
    assert!(mail.is_delivered() && !mail.encrypted);
    let counts = Counts { connections: 1, open: 0, most_open: 1, logins: 0, messages: 1 };
    eventually("the connection ends", SOON, async || (server.counts() == counts).then_some(())).await;
    assert!(server.commands().contains(&"RCPT TO:<ada@example.com>".to_owned()), "{:?}", server.commands());
}

#[tokio::test]
async fn recipients_domains_and_the_queue_decide_in_this_order() {
    let server = SmtpServer::plain().await;
    server.for_domain("slow.example", Behaviour::LATER);
    server.for_recipient("quick@slow.example", Behaviour::Accept);
    server.decide(|to, attempt| match (to, attempt) {
        ("busy@example.com", 0) => Behaviour::BUSY,
        ("nobody@example.com", _) => Behaviour::UNKNOWN,
        _ => Behaviour::Accept,
    });
    for (to, expected) in [
        ("ada@slow.example", 451),
        ("quick@slow.example", 250),
        ("busy@example.com", 450),
        ("busy@example.com", 250),
        ("nobody@example.com", 550),
    ] {
        assert_eq!(code(&send(&server, to).await), Some(expected), "{to}");
    }
    server.queue([
        Behaviour::SPAM,
        Behaviour::Answer(Step::Connect, "421 4.3.2 Come back later"),
        Behaviour::Answer(Step::MailFrom, "452 4.3.1 No"),
        Behaviour::FULL,
    ]);
    for expected in [554, 421, 452, 552, 250] {
        assert_eq!(code(&send(&server, "ada@example.com").await), Some(expected));
    }
    let refused = server.mails().into_iter().filter(|mail| matches!(mail.answered, Answered::Refused(_)));
    assert_eq!(refused.count(), 2, "451 and 554 came after the message");
}

#[tokio::test]
async fn a_client_may_hear_nothing_or_late_or_lose_its_connection() {
    let server = SmtpServer::plain().await;
    for step in [Step::Connect, Step::Hello, Step::MailFrom, Step::RcptTo, Step::Data, Step::Message] {
        for behaviour in [Behaviour::Stall(step), Behaviour::Disconnect(step), Behaviour::Reset(step)] {
            server.queue([behaviour.clone()]);
            match timeout(QUIET, send(&server, "ada@example.com")).await {
                Err(_) => assert!(matches!(behaviour, Behaviour::Stall(_)), "{behaviour:?}"),
                Ok(result) => {
                    assert!(!matches!(behaviour, Behaviour::Stall(_)), "{behaviour:?}");
                    assert!(result.is_err() && code(&result).is_none(), "{behaviour:?}: {result:?}");
                }
            }
        }
    }
    let mails = server.mails();
    assert_eq!(mails.len(), 3, "a message that ended was received");
    assert!(mails.iter().all(|mail| mail.answered == Answered::Nothing && mail.is_delivered()));

    server.queue([Behaviour::Swallow]);
    assert_eq!(code(&send(&server, "ada@example.com").await), Some(250));
    assert!(!server.mails().pop().unwrap().is_delivered());

    server.by_default(Behaviour::Slow(Duration::from_millis(100)));
    assert_eq!(code(&send(&server, "ada@example.com").await), Some(250));
    let mail = server.mails().pop().unwrap();
    assert!(mail.ended - mail.started >= Duration::from_millis(200), "{:?}", mail.ended - mail.started);
    server.behave();
    let none_open = async || (server.counts().open == 0).then_some(());
    eventually("who was left alone went away", SOON, none_open).await;
}

#[tokio::test]
async fn mails_to_a_domain_are_counted_while_they_are_under_way() {
    let server = SmtpServer::plain().await;
    server.by_default(Behaviour::Slow(Duration::from_millis(100)));
    let (one, other, elsewhere) = tokio::join!(
        send(&server, "one@example.com"),
        send(&server, "other@example.com"),
        send(&server, "ada@example.org")
    );
    assert!(one.is_ok() && other.is_ok() && elsewhere.is_ok());
    assert_eq!(server.most_at_once("example.com"), 2);
    assert_eq!(server.most_at_once("example.org"), 1);
    assert_eq!(server.most_at_once("example.net"), 0);
    assert_eq!(server.counts().most_open, 3);
}

#[tokio::test]
async fn a_good_certificate_is_trusted_and_no_other() {
    for (certificate, is_good) in [
        (Certificate::Good, true),
        (Certificate::OtherHost, false),
        (Certificate::SelfSigned, false),
        (Certificate::Expired, false),
    ] {
        let starts = SmtpServer::start(Security::StartTls(certificate)).await;
        let result = send_as(&starts, "ada@example.com", Tls::Required(trusting()), None).await;
        assert_eq!(result.is_ok(), is_good, "{certificate:?}: {result:?}");
        assert_eq!(code(&send(&starts, "ada@example.com").await), Some(530), "not in plain text");
        let wraps = SmtpServer::start(Security::Tls(certificate)).await;
        let result = send_as(&wraps, "ada@example.com", Tls::Wrapper(trusting()), None).await;
        assert_eq!(result.is_ok(), is_good, "{certificate:?}: {result:?}");
        for server in [starts, wraps] {
            assert_eq!(server.mails().iter().filter(|mail| mail.encrypted).count(), usize::from(is_good));
        }
    }
    let plain = SmtpServer::plain().await;
    let result = send_as(&plain, "ada@example.com", Tls::Required(trusting()), None).await;
    assert!(result.is_err(), "STARTTLS is not offered");
}

#[tokio::test]
async fn a_login_is_asked_for_and_compared() {
    let security = Security::StartTls(Certificate::Good);
    let server = SmtpServer::with_login(security, "mailer", "secret word").await;
    let tls = || Tls::Required(trusting());
    for mechanism in [Mechanism::Plain, Mechanism::Login] {
        let right = Some(("mailer", "secret word", mechanism));
        assert_eq!(code(&send_as(&server, "ada@example.com", tls(), right).await), Some(250));
        let wrong = Some(("mailer", "secret", mechanism));
        assert_eq!(code(&send_as(&server, "ada@example.com", tls(), wrong).await), Some(535));
    }
    assert_eq!(code(&send_as(&server, "ada@example.com", tls(), None).await), Some(530));
    assert_eq!(server.counts().logins, 2);
    assert_eq!(server.mails().first().unwrap().user.as_deref(), Some("mailer"));
    assert!(!format!("{:?}", server.commands()).contains("secret"));
    let url = format!("smtp://mailer:secret%20word@localhost:{}?tls=required", server.address().port());
    assert_eq!(server.url().expose_secret(), url);
}

#[tokio::test]
async fn commands_may_come_all_at_once() {
    let server = SmtpServer::plain().await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let commands = "EHLO test\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\n\
        DATA\r\nSubject: one\r\n two\r\n\r\nbody\r\n.\r\nNOOP\r\nNONSENSE\r\nQUIT\r\n";
    stream.write_all(commands.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let codes: Vec<&str> =
        answer.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| &line[..3]).collect();
    assert_eq!(codes, ["220", "250", "250", "250", "250", "354", "250", "250", "502", "221"]);
    let mail = server.mails().pop().unwrap();
    assert_eq!(mail.to, ["b@example.com", "c@example.com"]);
    assert_eq!(mail.header("subject"), ["one two"]);
}
