//! The mail catcher over real sockets.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{net::SocketAddr, time::Duration};

use dev_stack::mailbox::{Mailbox, SmtpFault};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const DEADLINE: Duration = Duration::from_secs(5);

/// Everything the server says to these bytes, until it closes the connection.
async fn talk(addr: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    answers
}

fn http(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

const MAIL: &str = "EHLO me\r\nMAIL FROM:<a@example.com> SIZE=10 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<User@Example.com>\r\n\
    DATA\r\nSubject: hello\r\n\r\n..a dot\r\nhttps://app.example/x\r\n.\r\nQUIT\r\n";

#[tokio::test]
async fn a_pipelined_mail_arrives_and_is_shown() {
    let mailbox = Mailbox::start(ANY, ANY).await.unwrap();
    let (answers, mail) =
        tokio::join!(talk(mailbox.smtp_addr(), MAIL), mailbox.wait_for("user@example.com", DEADLINE));
    assert!(answers.ends_with("250 2.0.0 Caught\r\n221 2.0.0 Bye\r\n"), "{answers}");
    let mail = mail.unwrap();
    assert_eq!(mail.subject, "hello");
    assert_eq!(mail.text, ".a dot\nhttps://app.example/x\n");
    assert_eq!(mail.links, ["https://app.example/x"]);

    let web = mailbox.http_addr();
    let list = talk(web, &http("GET", "/api/messages?to=USER%40example.com")).await;
    assert!(list.contains("\"receivedAt\"") && list.contains(&mail.id.to_string()), "{list}");
    let none = talk(web, &http("GET", "/api/messages?to=other@example.com")).await;
    assert!(none.ends_with("[]"), "{none}");
    let page = talk(web, &http("GET", &format!("/messages/{}", mail.id))).await;
    assert!(page.contains("href=\"https://app.example/x\""), "{page}");
    let emptied = talk(web, &http("DELETE", "/api/messages")).await;
    assert!(emptied.starts_with("HTTP/1.1 204"), "{emptied}");
    assert!(mailbox.messages_to("user@example.com").is_empty());
}

#[tokio::test]
async fn faults_are_answered_and_nothing_is_kept() {
    let mailbox = Mailbox::start(ANY, ANY).await.unwrap();
    for (fault, expected) in [(SmtpFault::Transient, "451"), (SmtpFault::Permanent, "550")] {
        mailbox.set_fault(Some(fault));
        let answers = talk(mailbox.smtp_addr(), MAIL).await;
        assert!(answers.lines().any(|line| line.starts_with(expected)), "{answers}");
    }
    mailbox.set_fault(Some(SmtpFault::Disconnect));
    let answers = talk(mailbox.smtp_addr(), MAIL).await;
    assert!(answers.contains("354") && !answers.contains("Caught"), "{answers}");
    assert!(mailbox.messages_to("user@example.com").is_empty());
    mailbox.set_fault(None);
    talk(mailbox.smtp_addr(), MAIL).await;
    assert_eq!(mailbox.messages_to("user@example.com").len(), 1);
}

#[tokio::test]
async fn the_gallery_of_templates_is_shown_and_nothing_beside_it() {
    let mailbox = Mailbox::start(ANY, ANY).await.unwrap();
    let web = mailbox.http_addr();
    assert!(talk(web, &http("GET", "/templates/")).await.starts_with("HTTP/1.1 404"));
    let directory = std::env::temp_dir().join(format!("gallery-{}", web.port()));
    std::fs::create_dir_all(directory.join("inside")).unwrap();
    for (name, content) in [
        ("index.html", "the gallery"),
        ("test.en.html", "<p>a mail"),
        ("inside/secret.txt", "x"),
        ("x.pem", "x"),
    ] {
        std::fs::write(directory.join(name), content).unwrap();
    }
    mailbox.show_templates(directory.clone());
    let index = talk(web, &http("GET", "/templates/")).await;
    assert!(index.ends_with("the gallery") && index.contains("style-src 'self'"), "{index}");
    let mail = talk(web, &http("GET", "/templates/test.en.html")).await;
    assert!(mail.ends_with("<p>a mail") && mail.contains("sandbox"), "{mail}");
    for path in
        ["x.pem", "missing.html", "inside", "inside%2Fsecret.txt", "..%2Fmailbox.rs", "%2Fetc%2Fpasswd"]
    {
        let answer = talk(web, &http("GET", &format!("/templates/{path}"))).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}
