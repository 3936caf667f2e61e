//! Makes a service's schema and its two roles: an owner that migrates and an application role that serves.

use secrecy::SecretString;

/// What to make. Roles, passwords and the database's name are read from the URLs.
#[derive(Debug, Clone)]
pub struct Bootstrap<'a> {
    /// A superuser's URL, or one of a role that may create databases, roles and schemas.
    pub admin_url: &'a SecretString,
    /// The URL that `migrate` will use: its role will own the schema.
    pub owner_url: &'a SecretString,
    /// The URL that `serve` will use: its role may use tables (SELECT, INSERT, UPDATE, DELETE) and sequences of the schema, later ones included.
    pub app_url: &'a SecretString,
    /// The schema.
    pub schema: &'a str,
    /// Whether sessions of other roles find this schema's tables unqualified (`ALTER DATABASE … SET search_path`).
    pub default_search_path: bool,
}

/// Makes database, roles and schema, or brings them up to date; idempotent and safe to run from several services at once.
pub async fn run(_bootstrap: &Bootstrap<'_>) -> anyhow::Result<()> {
    todo!()
}
