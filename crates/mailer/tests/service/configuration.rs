//! What the mailer says about its configuration.

use clap::Parser;
use mailer::config::{Config, Settings};
use service_runtime::{Environment, Problems};

use crate::support::unconnected;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
}

fn configure(environment: Environment, arguments: &[&str]) -> Result<Config, String> {
    test_support::install_crypto_provider();
    let arguments = ["mailer"].iter().chain(arguments);
    let settings = CommandLine::try_parse_from(arguments).unwrap().settings;
    let mut problems = Problems::new();
    let config = settings.configure(&unconnected(environment), &mut problems);
    config.filter(|_| problems.is_empty()).ok_or_else(|| problems.to_string())
}

#[test]
fn three_variables_are_enough() {
    let arguments = [
        "--mailer-private-key",
        KEY,
        "--smtp-url",
        "smtp://localhost:2525",
        "--mail-from",
        "Acme <no-reply@auth.example>",
    ];
    let config = configure(Environment::Development, &arguments).unwrap();
    assert_eq!(config.mail_domain, "auth.example");
    assert_eq!(config.brand.name, "Feature Auth");
    assert_eq!(config.grpc_listen, "0.0.0.0:50052".parse().unwrap());
    assert!(config.sender.reply_to.is_none() && config.brand.support_email.is_none());
}

#[test]
fn every_mistake_is_named_and_no_secret_is() {
    let mistakes = configure(
        Environment::Development,
        &[
            "--grpc-listen",
            "here",
            "--mailer-private-key",
            "hush",
            "--smtp-url",
            "smtp://u:hush@h/path",
            "--mail-from",
            "nobody",
            "--mail-domain",
            "a b",
            "--support-email",
            "x\r\nBcc: y@z.example",
            "--brand-name",
            " ",
        ],
    )
    .unwrap_err();
    for variable in [
        "GRPC_LISTEN",
        "MAILER_PRIVATE_KEY",
        "SMTP_URL",
        "MAIL_FROM",
        "MAIL_DOMAIN",
        "SUPPORT_EMAIL",
        "BRAND_NAME",
    ] {
        assert!(mistakes.contains(&format!("  {variable} ")), "{variable}: {mistakes}");
    }
    assert_eq!(mistakes.lines().count(), 7, "{mistakes}");
    assert!(!mistakes.contains("hush"), "{mistakes}");
    let missing = configure(Environment::Development, &[]).unwrap_err();
    assert_eq!(missing.lines().count(), 3, "{missing}");
}

#[test]
fn production_wants_mail_encrypted() {
    let with = |smtp| {
        let arguments =
            ["--mailer-private-key", KEY, "--smtp-url", smtp, "--mail-from", "no-reply@auth.example"];
        configure(Environment::Production, &arguments)
    };
    assert!(
        with("smtp://user:pass@mail.example").unwrap_err().contains("SMTP_URL plain SMTP is for development")
    );
    assert!(with("smtp://user:pass@mail.example?tls=none").is_err());
    assert!(with("smtp://user:pass@mail.example?tls=required").is_ok());
    assert!(with("smtps://user:pass@mail.example").is_ok());
}

#[test]
fn each_provider_and_limit_has_its_rules() {
    let with = |environment, more: &[&str]| {
        let common: &[&str] = &["--mailer-private-key", KEY, "--mail-from", "no-reply@auth.example"];
        let arguments = [common, more].concat();
        configure(environment, &arguments)
    };
    let (development, production) = (Environment::Development, Environment::Production);
    let all = with(
        production,
        &[
            "--smtp-url",
            "smtps://u:p@a.example",
            "--smtp-fallback-url",
            "smtp://u:p@b.example?tls=required",
            "--sendgrid-api-key",
            "SG.hush",
        ],
    );
    assert_eq!(all.unwrap().delivery.providers.len(), 3);
    assert!(with(production, &["--sendgrid-api-key", "SG.hush"]).is_ok(), "it is enough");
    let smtp = ["--smtp-url", "smtps://u:p@a.example"];
    for (more, variable) in [
        (["--smtp-fallback-url", "smtp://b.example"], "SMTP_FALLBACK_URL"),
        (["--sendgrid-api-key", "hu sh"], "SENDGRID_API_KEY"),
        (["--smtp-ca-file", "/nowhere/hush"], "SMTP_CA_FILE"),
        (["--mail-workers", "0"], "MAIL_WORKERS"),
        (["--mail-domain-concurrency", "many"], "MAIL_DOMAIN_CONCURRENCY"),
        (["--mail-retention", "29d"], "MAIL_RETENTION"),
        (["--list-unsubscribe-url", "javascript:hush"], "LIST_UNSUBSCRIBE_URL"),
        (["--dkim-selector", "s1"], "DKIM_SELECTOR"),
        (["--dkim-private-key", "hush"], "DKIM_SELECTOR"),
    ] {
        let mistakes = with(production, &[smtp, more].concat()).unwrap_err();
        assert!(mistakes.contains(&format!("  {variable} ")), "{variable}: {mistakes}");
        assert_eq!(mistakes.lines().count(), 1, "{mistakes}");
    }
    let insecure = ["--sendgrid-api-key", "SG.x", "--sendgrid-base-url", "http://127.0.0.1:1"];
    assert!(with(production, &insecure).unwrap_err().contains("SENDGRID_BASE_URL"));
    assert!(with(development, &insecure).is_ok());
}
