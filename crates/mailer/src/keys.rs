use sealing::MailboxPrivateKey;

/// What can be done with keys.
#[derive(Debug, clap::Subcommand)]
pub enum KeysCommand {
    /// Prints a new key pair: the private key is the mailer's, the public key is for who sends mail commands.
    Generate,
}

/// A new key pair as two lines of an environment file.
#[must_use]
pub fn generate() -> String {
    let (private, public) = MailboxPrivateKey::generate(&mut clock::secure_rng());
    format!("MAILER_PRIVATE_KEY={}\nMAILER_PUBLIC_KEY={public}\n", *private)
}
