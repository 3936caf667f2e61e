//! What every mail says, in full.

use auth_events::commands::MailTemplate;

use super::{
    tests::{sample, verify},
    *,
};

fn email_change_request() -> MailParameters {
    MailParameters::EmailChangeNotice {
        display_name: None,
        new_email_masked: "ada@new.example".to_owned(),
        undo_link: None,
        completed: false,
    }
}

fn recovery_codes_changed(remaining: u32) -> MailParameters {
    let MailParameters::RecoveryCodesChanged { display_name, secure_link, occasion, .. } =
        sample(MailTemplate::RecoveryCodesChanged)
    else {
        unreachable!()
    };
    MailParameters::RecoveryCodesChanged { display_name, secure_link, occasion, remaining }
}

fn said(locale: Locale, parameters: &MailParameters) -> String {
    let support_email = Some("help@auth.example".to_owned());
    let renderer = Renderer::new(Brand { support_email, ..Brand::named("Fisch & Söhne") }).unwrap();
    let mail = renderer.render(locale, parameters).unwrap();
    format!("{}\n---\n{}", mail.subject, mail.text)
}

#[test]
fn verify_email_in_english() {
    insta::assert_snapshot!(said(Locale::En, &verify(Some("Ada"))), @r#"
    Confirm your email address for Fisch & Söhne
    ---
    Hello Ada,

    Welcome to Fisch & Söhne!
    Please confirm that this is your email address by opening this link:

    https://auth.example/verify-email#token=fat_AbC-_123&x="y"

    The link works for 24 hours. It is best to open it in the browser that
    you signed up with; anywhere else you will be asked to choose a
    new password.

    Did you not sign up? Then somebody probably mistyped their address.
    You do not need to do anything: without this link the account stays
    closed, and it disappears by itself.

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn verify_email_in_german() {
    insta::assert_snapshot!(said(Locale::De, &verify(None)), @r#"
    Bestätigen Sie Ihre E-Mail-Adresse für Fisch & Söhne
    ---
    Guten Tag,

    willkommen bei Fisch & Söhne!
    Bitte bestätigen Sie, dass dies Ihre E-Mail-Adresse ist, indem Sie
    diesen Link öffnen:

    https://auth.example/verify-email#token=fat_AbC-_123&x="y"

    Der Link gilt 24 Stunden. Öffnen Sie ihn am besten in dem
    Browser, in dem Sie sich registriert haben; anderswo werden Sie
    gebeten, ein neues Passwort zu wählen.

    Sie waren das nicht? Dann hat sich vermutlich jemand bei der Adresse
    vertippt. Sie müssen nichts tun: Ohne diesen Link bleibt das Konto
    geschlossen und verschwindet von selbst.

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn already_registered_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::AlreadyRegistered)), @r#"
    You already have an account at Fisch & Söhne
    ---
    Hello Ada,

    Somebody, probably you, tried to sign up for Fisch & Söhne with
    this email address. You already have an account here, so we did not
    create another one.

    Log in here:

    https://auth.example/login

    Have you forgotten your password? Choose a new one here:

    https://auth.example/forgot-password

    Did you not try? Then there is nothing to do. Your account and
    your password are unchanged, and whoever tried did not learn that you
    have an account.

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn already_registered_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::AlreadyRegistered)), @r#"
    Sie haben bereits ein Konto bei Fisch & Söhne
    ---
    Guten Tag Ada,

    jemand, vermutlich Sie selbst, wollte sich mit dieser E-Mail-Adresse
    bei Fisch & Söhne registrieren. Sie haben hier schon ein Konto,
    deshalb haben wir kein weiteres angelegt.

    Hier melden Sie sich an:

    https://auth.example/login

    Passwort vergessen? Hier wählen Sie ein neues:

    https://auth.example/forgot-password

    Sie waren das nicht? Dann müssen Sie nichts tun. Ihr Konto und Ihr
    Passwort sind unverändert, und wer es versucht hat, hat nicht
    erfahren, dass Sie ein Konto haben.

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn reset_password_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::ResetPassword)), @r#"
    Choose a new password for Fisch & Söhne
    ---
    Hello Ada,

    Somebody, hopefully you, asked for a new password for your account at
    Fisch & Söhne. Choose one here:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    The link works once, and for 30 minutes. When you have chosen,
    all your sessions are ended.

    Did you not ask for this? Then there is nothing to do. Your password
    is unchanged.

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn reset_password_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::ResetPassword)), @r#"
    Neues Passwort für Fisch & Söhne wählen
    ---
    Guten Tag Ada,

    jemand, hoffentlich Sie selbst, hat für Ihr Konto bei Fisch & Söhne
    ein neues Passwort angefordert. Hier wählen Sie es:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Der Link funktioniert einmal und gilt 30 Minuten. Sobald Sie ein
    Passwort gewählt haben, werden alle Ihre Sitzungen beendet.

    Sie waren das nicht? Dann müssen Sie nichts tun. Ihr Passwort ist
    unverändert.

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn password_changed_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::PasswordChanged)), @r#"
    Your password for Fisch & Söhne was changed
    ---
    Hello Ada,

    The password of your account at Fisch & Söhne was changed.
    All other sessions were ended.

    Time: 23 November 2026, 14:05 UTC
    IP address: 203.0.113.7
    Device: Firefox, Linux

    Was this you? Then there is nothing to do.

    Was it not you? Then secure your account now. We end all your
    sessions, and you choose a new password:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn password_changed_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::PasswordChanged)), @r#"
    Ihr Passwort für Fisch & Söhne wurde geändert
    ---
    Guten Tag Ada,

    das Passwort Ihres Kontos bei Fisch & Söhne wurde geändert.
    Alle anderen Sitzungen wurden beendet.

    Zeit: 23. November 2026, 14:05 Uhr (UTC)
    IP-Adresse: 203.0.113.7
    Gerät: Firefox, Linux

    Waren Sie das? Dann müssen Sie nichts tun.

    Sie waren das nicht? Dann sichern Sie jetzt Ihr Konto. Wir beenden
    alle Ihre Sitzungen, und Sie wählen ein neues Passwort:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn email_change_confirm_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::EmailChangeConfirm)), @r#"
    Confirm your new email address for Fisch & Söhne
    ---
    Hello Ada,

    Somebody, hopefully you, wants to use this email address for their
    account at Fisch & Söhne. Please confirm that it is yours by
    opening this link:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    The link works for 1 hour. Until you open it, the old address
    stays in use.

    Was it not you? Then somebody probably mistyped their address. You do
    not need to do anything: without this link nothing changes.

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn email_change_confirm_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::EmailChangeConfirm)), @r#"
    Bestätigen Sie Ihre neue E-Mail-Adresse für Fisch & Söhne
    ---
    Guten Tag Ada,

    jemand, hoffentlich Sie selbst, möchte diese E-Mail-Adresse für ein
    Konto bei Fisch & Söhne verwenden. Bitte bestätigen Sie, dass sie
    Ihnen gehört, indem Sie diesen Link öffnen:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Der Link gilt 1 Stunde. Bis Sie ihn öffnen, gilt die bisherige
    Adresse.

    Sie waren das nicht? Dann hat sich vermutlich jemand bei der Adresse
    vertippt. Sie müssen nichts tun: Ohne diesen Link ändert sich nichts.

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn email_change_notice_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::EmailChangeNotice)), @r#"
    Your email address for Fisch & Söhne was changed
    ---
    Hello Ada,

    The email address of your account at Fisch & Söhne is now
    e•••@m•••.example. Your old address, which this message goes
    to, is no longer used for it.

    Was it not you? Then undo the change. The link works for 72 hours:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn email_change_notice_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::EmailChangeNotice)), @r#"
    Ihre E-Mail-Adresse für Fisch & Söhne wurde geändert
    ---
    Guten Tag Ada,

    die E-Mail-Adresse Ihres Kontos bei Fisch & Söhne lautet jetzt
    e•••@m•••.example. Diese Adresse hier gehört nicht mehr dazu.

    Sie waren das nicht? Dann machen Sie die Änderung rückgängig. Der Link
    gilt 72 Stunden:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn email_change_request_in_english() {
    insta::assert_snapshot!(said(Locale::En, &email_change_request()), @r#"
    Your email address for Fisch & Söhne is about to change
    ---
    Hello,

    Somebody, hopefully you, wants to change the email address of your
    account at Fisch & Söhne to a•••@n•••.example.
    Nothing has changed yet: the new address has to be confirmed first. We
    will tell you here when that happens, with a link that undoes the
    change.

    Was it not you? Then log in and change your password now. This also
    stops the change of the address.

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn email_change_request_in_german() {
    insta::assert_snapshot!(said(Locale::De, &email_change_request()), @r#"
    Ihre E-Mail-Adresse für Fisch & Söhne soll geändert werden
    ---
    Guten Tag,

    jemand, hoffentlich Sie selbst, möchte die E-Mail-Adresse Ihres Kontos
    bei Fisch & Söhne in a•••@n•••.example ändern.
    Noch hat sich nichts geändert: Die neue Adresse muss erst bestätigt
    werden. Sobald das geschieht, erfahren Sie es hier und erhalten einen
    Link, der die Änderung rückgängig macht.

    Sie waren das nicht? Dann melden Sie sich an und ändern Sie jetzt Ihr
    Passwort. Damit ist auch die Änderung der Adresse hinfällig.

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn new_device_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::NewDevice)), @r#"
    Login from a new device at Fisch & Söhne
    ---
    Hello Ada,

    Somebody logged in to your account at Fisch & Söhne from a device
    that we have not seen before.

    Time: 23 November 2026, 14:05 UTC
    IP address: 203.0.113.7
    Device: Firefox, Linux

    Was this you? Then there is nothing to do.

    Was it not you? Then secure your account now. We end all your
    sessions, and you choose a new password:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn new_device_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::NewDevice)), @r#"
    Anmeldung von einem neuen Gerät bei Fisch & Söhne
    ---
    Guten Tag Ada,

    in Ihrem Konto bei Fisch & Söhne hat sich jemand von einem Gerät
    angemeldet, das wir noch nicht kennen.

    Zeit: 23. November 2026, 14:05 Uhr (UTC)
    IP-Adresse: 203.0.113.7
    Gerät: Firefox, Linux

    Waren Sie das? Dann müssen Sie nichts tun.

    Sie waren das nicht? Dann sichern Sie jetzt Ihr Konto. Wir beenden
    alle Ihre Sitzungen, und Sie wählen ein neues Passwort:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn totp_enabled_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::TotpEnabled)), @r#"
    Two-factor login is now on at Fisch & Söhne
    ---
    Hello Ada,

    Two-factor login was turned on for your account at Fisch & Söhne.
    From now on, logging in takes a code from the authenticator app.
    Keep your recovery codes in a safe place.

    Time: 23 November 2026, 14:05 UTC
    IP address: 203.0.113.7
    Device: Firefox, Linux

    Was this you? Then there is nothing to do.

    Was it not you? Then secure your account now. We end all your
    sessions, and you choose a new password:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn totp_enabled_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::TotpEnabled)), @r#"
    Zwei-Faktor-Anmeldung bei Fisch & Söhne eingeschaltet
    ---
    Guten Tag Ada,

    für Ihr Konto bei Fisch & Söhne wurde die Zwei-Faktor-Anmeldung
    eingeschaltet. Zum Anmelden gehört von nun an ein Code aus der
    Authenticator-App. Bewahren Sie Ihre Wiederherstellungscodes sicher
    auf.

    Zeit: 23. November 2026, 14:05 Uhr (UTC)
    IP-Adresse: 203.0.113.7
    Gerät: Firefox, Linux

    Waren Sie das? Dann müssen Sie nichts tun.

    Sie waren das nicht? Dann sichern Sie jetzt Ihr Konto. Wir beenden
    alle Ihre Sitzungen, und Sie wählen ein neues Passwort:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn totp_disabled_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::TotpDisabled)), @r#"
    Two-factor login is now off at Fisch & Söhne
    ---
    Hello Ada,

    Two-factor login was turned off for your account at Fisch & Söhne.
    The password alone is now enough to log in.

    Time: 23 November 2026, 14:05 UTC
    IP address: 203.0.113.7
    Device: Firefox, Linux

    Was this you? Then there is nothing to do.

    Was it not you? Then secure your account now. We end all your
    sessions, and you choose a new password:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn totp_disabled_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::TotpDisabled)), @r#"
    Zwei-Faktor-Anmeldung bei Fisch & Söhne ausgeschaltet
    ---
    Guten Tag Ada,

    für Ihr Konto bei Fisch & Söhne wurde die Zwei-Faktor-Anmeldung
    ausgeschaltet. Zum Anmelden genügt jetzt das Passwort.

    Zeit: 23. November 2026, 14:05 Uhr (UTC)
    IP-Adresse: 203.0.113.7
    Gerät: Firefox, Linux

    Waren Sie das? Dann müssen Sie nichts tun.

    Sie waren das nicht? Dann sichern Sie jetzt Ihr Konto. Wir beenden
    alle Ihre Sitzungen, und Sie wählen ein neues Passwort:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn recovery_code_used_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::RecoveryCodeUsed)), @r#"
    A recovery code was used at Fisch & Söhne
    ---
    Hello Ada,

    One of your recovery codes was used at Fisch & Söhne.
    It does not work a second time.
    You have 7 codes left.

    Time: 23 November 2026, 14:05 UTC
    IP address: 203.0.113.7
    Device: Firefox, Linux

    Was this you? Then there is nothing to do.

    Was it not you? Then secure your account now. We end all your
    sessions, and you choose a new password:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn recovery_code_used_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::RecoveryCodeUsed)), @r#"
    Ein Wiederherstellungscode wurde bei Fisch & Söhne benutzt
    ---
    Guten Tag Ada,

    bei Fisch & Söhne wurde einer Ihrer Wiederherstellungscodes benutzt.
    Ein zweites Mal funktioniert er nicht.
    Sie haben noch 7 Codes.

    Zeit: 23. November 2026, 14:05 Uhr (UTC)
    IP-Adresse: 203.0.113.7
    Gerät: Firefox, Linux

    Waren Sie das? Dann müssen Sie nichts tun.

    Sie waren das nicht? Dann sichern Sie jetzt Ihr Konto. Wir beenden
    alle Ihre Sitzungen, und Sie wählen ein neues Passwort:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn recovery_codes_changed_in_english() {
    insta::assert_snapshot!(said(Locale::En, &recovery_codes_changed(10)), @r#"
    New recovery codes at Fisch & Söhne
    ---
    Hello Ada,

    New recovery codes were created for your account at Fisch & Söhne.
    The earlier ones do not work any more.

    Time: 23 November 2026, 14:05 UTC
    IP address: 203.0.113.7
    Device: Firefox, Linux

    Was this you? Then there is nothing to do.

    Was it not you? Then secure your account now. We end all your
    sessions, and you choose a new password:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
    insta::assert_snapshot!(said(Locale::En, &recovery_codes_changed(0)), @r#"
    Your recovery codes were deleted at Fisch & Söhne
    ---
    Hello Ada,

    The recovery codes of your account at Fisch & Söhne were deleted, because
    somebody else may have created them. Create new codes in the security
    settings of your account.

    Time: 23 November 2026, 14:05 UTC
    IP address: 203.0.113.7
    Device: Firefox, Linux

    Was this you? Then there is nothing to do.

    Was it not you? Then secure your account now. We end all your
    sessions, and you choose a new password:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn recovery_codes_changed_in_german() {
    insta::assert_snapshot!(said(Locale::De, &recovery_codes_changed(10)), @r#"
    Neue Wiederherstellungscodes bei Fisch & Söhne
    ---
    Guten Tag Ada,

    für Ihr Konto bei Fisch & Söhne wurden neue Wiederherstellungscodes
    erzeugt. Die früheren funktionieren nicht mehr.

    Zeit: 23. November 2026, 14:05 Uhr (UTC)
    IP-Adresse: 203.0.113.7
    Gerät: Firefox, Linux

    Waren Sie das? Dann müssen Sie nichts tun.

    Sie waren das nicht? Dann sichern Sie jetzt Ihr Konto. Wir beenden
    alle Ihre Sitzungen, und Sie wählen ein neues Passwort:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
    insta::assert_snapshot!(said(Locale::De, &recovery_codes_changed(0)), @r#"
    Ihre Wiederherstellungscodes bei Fisch & Söhne wurden gelöscht
    ---
    Guten Tag Ada,

    die Wiederherstellungscodes Ihres Kontos bei Fisch & Söhne wurden gelöscht,
    weil sie vielleicht jemand anders erzeugt hat. Erzeugen Sie neue in den
    Sicherheitseinstellungen Ihres Kontos.

    Zeit: 23. November 2026, 14:05 Uhr (UTC)
    IP-Adresse: 203.0.113.7
    Gerät: Firefox, Linux

    Waren Sie das? Dann müssen Sie nichts tun.

    Sie waren das nicht? Dann sichern Sie jetzt Ihr Konto. Wir beenden
    alle Ihre Sitzungen, und Sie wählen ein neues Passwort:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn session_stolen_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::SessionStolen)), @r#"
    We ended a session of your account at Fisch & Söhne
    ---
    Hello Ada,

    The access data of one of your sessions at Fisch & Söhne was used
    twice. Somebody may have copied it from your device, so we ended that
    session.

    Time: 23 November 2026, 14:05 UTC
    IP address: 203.0.113.7
    Device: Firefox, Linux

    Only this session is affected; on that device you will be asked to
    log in again.

    Does this come as a surprise? Then secure your account now. We end all
    your sessions, and you choose a new password:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn session_stolen_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::SessionStolen)), @r#"
    Wir haben eine Sitzung Ihres Kontos bei Fisch & Söhne beendet
    ---
    Guten Tag Ada,

    die Zugangsdaten einer Ihrer Sitzungen bei Fisch & Söhne wurden
    doppelt benutzt. Möglicherweise hat jemand sie von Ihrem Gerät
    kopiert; deshalb haben wir diese Sitzung beendet.

    Zeit: 23. November 2026, 14:05 Uhr (UTC)
    IP-Adresse: 203.0.113.7
    Gerät: Firefox, Linux

    Nur diese Sitzung ist betroffen; auf dem Gerät werden Sie gebeten,
    sich neu anzumelden.

    Das überrascht Sie? Dann sichern Sie jetzt Ihr Konto. Wir beenden alle
    Ihre Sitzungen, und Sie wählen ein neues Passwort:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn account_locked_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::AccountLocked)), @r#"
    Your password for Fisch & Söhne no longer works
    ---
    Hello Ada,

    A wrong password was entered too often for your account at
    Fisch & Söhne. To protect you, we stopped accepting its password on
    23 November 2026, 14:05 UTC.

    Where you are logged in, you stay logged in. Before you can log in
    again, please choose a new password:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Was it not you? Then somebody tried to guess your password. Nobody
    got in this way.

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn account_locked_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::AccountLocked)), @r#"
    Ihr Passwort für Fisch & Söhne gilt nicht mehr
    ---
    Guten Tag Ada,

    für Ihr Konto bei Fisch & Söhne wurde zu oft ein falsches Passwort
    eingegeben. Um Sie zu schützen, nehmen wir das Passwort seit dem
    23. November 2026, 14:05 Uhr (UTC) nicht mehr an.

    Wo Sie angemeldet sind, bleiben Sie angemeldet. Bevor Sie sich wieder
    anmelden können, wählen Sie bitte ein neues Passwort:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Sie waren das nicht? Dann wollte jemand Ihr Passwort erraten. Auf
    diesem Weg ist niemand in Ihr Konto gelangt.

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn account_deletion_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::AccountDeletion)), @r#"
    Your account at Fisch & Söhne will be deleted
    ---
    Hello Ada,

    You asked us to delete your account at Fisch & Söhne. It is closed
    now, and it will be deleted for good on
    23 November 2026, 14:05 UTC.

    Did you change your mind, or was it not you? Until then you can keep
    the account with this link. If it was not you, please choose a new
    password afterwards:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn account_deletion_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::AccountDeletion)), @r#"
    Ihr Konto bei Fisch & Söhne wird gelöscht
    ---
    Guten Tag Ada,

    Sie haben uns gebeten, Ihr Konto bei Fisch & Söhne zu löschen.
    Es ist jetzt geschlossen und wird am
    23. November 2026, 14:05 Uhr (UTC) endgültig gelöscht.

    Sie haben es sich anders überlegt, oder Sie waren das nicht? Bis dahin
    können Sie das Konto mit diesem Link behalten. Wenn Sie es nicht waren,
    wählen Sie danach bitte ein neues Passwort:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn an_invitation_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::Invitation)), @r#"
    You are invited to Fisch & Söhne
    ---
    Hello Ada,

    An account at Fisch & Söhne was created for you with this email address.
    Accept the invitation and choose a password here:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    The link works once, and for 7 days. If it has expired, ask
    whoever invited you for a new one.

    Were you not expecting this? Then there is nothing to do: nobody can
    use the account without this link.

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    "#);
}

#[test]
fn an_invitation_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::Invitation)), @r#"
    Ihre Einladung zu Fisch & Söhne
    ---
    Guten Tag Ada,

    bei Fisch & Söhne wurde mit dieser E-Mail-Adresse ein Konto für Sie
    angelegt. Hier nehmen Sie die Einladung an und wählen ein Passwort:

    https://auth.example/page#token=fat_AbC-_123&x="y"

    Der Link funktioniert einmal und gilt 7 Tage. Ist er abgelaufen,
    bitten Sie um eine neue Einladung.

    Sie haben keine Einladung erwartet? Dann müssen Sie nichts tun: Ohne
    diesen Link kann niemand das Konto benutzen.

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    "#);
}

#[test]
fn a_test_in_english() {
    insta::assert_snapshot!(said(Locale::En, &sample(MailTemplate::Test)), @r"
    Test message from Fisch & Söhne
    ---
    Hello,

    This is a test. It was requested by an administrator of Fisch & Söhne
    on 23 November 2026, 14:05 UTC.

    If you can read this, Fisch & Söhne can deliver mail to this address.
    There is nothing else to do.

    Questions? We are glad to help: help@auth.example
    This message was sent automatically by Fisch & Söhne.
    ");
}

#[test]
fn a_test_in_german() {
    insta::assert_snapshot!(said(Locale::De, &sample(MailTemplate::Test)), @r"
    Testnachricht von Fisch & Söhne
    ---
    Guten Tag,

    dies ist ein Test. Angefordert wurde er von der Administration von
    Fisch & Söhne am 23. November 2026, 14:05 Uhr (UTC).

    Wenn Sie dies lesen, kann Fisch & Söhne an diese Adresse zustellen.
    Sonst ist nichts zu tun.

    Fragen? Wir helfen Ihnen gern: help@auth.example
    Diese Nachricht wurde automatisch von Fisch & Söhne verschickt.
    ");
}
