//! The binaries as an operator meets them first.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::process::{Command, Output};

use e2e::stack::program;

const SERVICES: [&str; 4] = ["auth-api", "session-service", "mailer", "audit-service"];

fn run(service: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(program(service))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn every_mistake_in_the_configuration_is_named_at_once() {
    for service in SERVICES {
        let output =
            run(service, &["serve"], &[("TRACE_SAMPLE_RATIO", "lots"), ("MANAGEMENT_LISTEN", "nowhere")]);
        assert_eq!(output.status.code(), Some(78), "{service}");
        let text = String::from_utf8(output.stderr).unwrap();
        for variable in ["DATABASE_URL", "AMQP_URL", "TLS_CA", "TRACE_SAMPLE_RATIO", "MANAGEMENT_LISTEN"] {
            assert!(text.contains(variable), "{service} does not name {variable}: {text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
    let output = run("auth-api", &["serve"], &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    for variable in [
        "PUBLIC_URL",
        "FRONTEND_URL",
        "SESSION_SERVICE_URL",
        "TOKEN_ISSUER",
        "TOKEN_AUDIENCE",
        "TRUSTED_PROXIES",
        "TURNSTILE_SECRET",
        "PASSWORD_KEYS",
        "IDENTIFIER_KEY",
        "MAILER_PUBLIC_KEY",
    ] {
        assert!(text.contains(variable), "{variable} is not named: {text}");
    }
}

#[test]
fn production_refuses_what_is_meant_for_development() {
    let variables = [
        ("PUBLIC_URL", "http://auth.example.com"),
        ("FRONTEND_URL", "http://app.example.com"),
        ("TURNSTILE_SECRET", "1x0000000000000000000000000000000AA"),
        ("TURNSTILE_SITE_KEY", "1x00000000000000000000AA"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("GRPC_PLAINTEXT", "true"),
    ];
    let output = run("auth-api", &["config", "check"], &variables);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stderr).unwrap();
    for variable in ["PUBLIC_URL", "FRONTEND_URL", "TURNSTILE_SECRET", "TRUSTED_PROXIES", "GRPC_PLAINTEXT"] {
        assert!(text.contains(variable), "{variable} is accepted: {text}");
    }
}

#[test]
fn help_is_the_reference_of_the_configuration() {
    for service in SERVICES {
        let output = run(service, &["--help"], &[]);
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        for word in ["serve", "migrate", "config", "doctor", "DATABASE_URL", "AMQP_URL", "LOG_FILTER"] {
            assert!(text.contains(word), "{service} --help does not explain {word}: {text}");
        }
    }
}

#[test]
fn templates_are_proved_and_shown_without_any_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (own, gallery) = (path("own"), path("gallery"));
    let exported = run("mailer", &["templates", "export", "--out", &own], &[]);
    assert!(exported.status.success(), "{exported:?}");
    let variables = [("TEMPLATES_DIR", &*own), ("BRAND_NAME", "Acme"), ("BRAND_COLOR", "#ffcc00")];
    assert!(run("mailer", &["templates", "check"], &variables).status.success());
    let rendered = run("mailer", &["templates", "render", "--out", &gallery], &variables);
    assert!(rendered.status.success(), "{rendered:?}");
    let mail = std::fs::read_to_string(directory.path().join("gallery/verify_email.en.html")).unwrap();
    assert!(mail.contains("Acme") && mail.contains("#ffcc00"), "{mail}");

    std::fs::write(directory.path().join("own/footer.de.txt"), "{{ nobody }}\n").unwrap();
    for arguments in [&["templates", "check"][..], &["config", "check"]] {
        let output = run("mailer", arguments, &variables);
        assert_eq!(output.status.code(), Some(78));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("TEMPLATES_DIR cannot be used: footer.de.txt"), "{text}");
    }
}
