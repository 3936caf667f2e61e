//! Makes a service's schema and its two roles: an owner that migrates and an application role that serves.

use anyhow::{Context, ensure};
use diesel::{QueryResult, sql_types::Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use postgres_protocol::password;
use secrecy::SecretString;
use tokio_postgres::Config;

use crate::connector::Connector;

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

/// Makes database, roles and schema, or brings them up to date; idempotent and safe to run from several services at once. Returns what it left
/// undone, in words for the operator, because it was not worth failing for.
pub async fn run(bootstrap: &Bootstrap<'_>) -> anyhow::Result<Option<String>> {
    let admin = Connector::new(bootstrap.admin_url, "bootstrap", None)?;
    let owner = Login::from_url(bootstrap.owner_url).context("the owner's URL")?;
    let app = Login::from_url(bootstrap.app_url).context("the application's URL")?;
    ensure!(owner.database == app.database, "the URLs of owner and application name different databases");
    let names = Names::new(bootstrap.schema, &owner, &app);

    // Roles and databases belong to the whole server, and changing one role twice at once fails. Locks belong to one database,
    // therefore everybody meets in the administrator's.
    let mut server = admin.connect().await.context("cannot connect as administrator")?;
    server.batch_execute("SELECT pg_advisory_lock(hashtext('bootstrap'))").await?;
    // The application role has the rights of this group. Its name is fixed, so that migrations can take rights away from it.
    make_role(&mut server, &format!("{}_rw", bootstrap.schema), None).await?;
    for login in [&owner, &app] {
        if admin.config().get_user() != Some(login.role.as_str()) {
            make_role(&mut server, &login.role, Some(login)).await?;
        }
    }
    make_database(&mut server, &owner.database).await?;

    let mut database = admin.with_database(&owner.database).connect().await?;
    become_member_if_need_be(&mut database, &owner.role).await?;
    database.batch_execute(&names.schema_and_rights()).await.context("cannot make the schema")?;
    if bootstrap.default_search_path {
        database.batch_execute(&names.default_search_path()).await?;
    }
    let spoken = speak_english(&mut database, &names.app).await;
    Ok(spoken.err().map(|error| format!("left lc_messages of the application role as it is: {error}")))
}

/// Role, password and database of a URL.
struct Login {
    role: String,
    password: Option<Vec<u8>>,
    database: String,
}

impl Login {
    fn from_url(url: &SecretString) -> anyhow::Result<Self> {
        let connector = Connector::new(url, "bootstrap", None)?;
        let config: &Config = connector.config();
        let role = config.get_user().context("names no role")?.to_owned();
        let database = config.get_dbname().unwrap_or(&role).to_owned();
        Ok(Self { role, password: config.get_password().map(<[u8]>::to_vec), database })
    }
}

async fn make_role(server: &mut AsyncPgConnection, role: &str, login: Option<&Login>) -> anyhow::Result<()> {
    let exists = diesel::sql_query("SELECT FROM pg_roles WHERE rolname = $1").bind::<Text, _>(role);
    let name = identifier(role);
    if exists.execute(server).await? == 0 {
        server.batch_execute(&format!("CREATE ROLE {name}")).await?;
    }
    if let Some(login) = login {
        // The password is hashed here: in clear it could end up in the server's log.
        let password = login.password.as_deref().map(password::scram_sha_256);
        let password = password.map_or_else(String::new, |hash| format!("PASSWORD {}", literal(&hash)));
        server.batch_execute(&format!("ALTER ROLE {name} LOGIN {password}")).await?;
    }
    Ok(())
}

async fn make_database(server: &mut AsyncPgConnection, database: &str) -> anyhow::Result<()> {
    let exists = diesel::sql_query("SELECT FROM pg_database WHERE datname = $1").bind::<Text, _>(database);
    if exists.execute(server).await? == 0 {
        let create = format!("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0", identifier(database));
        server.batch_execute(&create).await.context("cannot create the database")?;
    }
    Ok(())
}

/// Only a superuser may make things for another role without being its member.
async fn become_member_if_need_be(database: &mut AsyncPgConnection, owner: &str) -> anyhow::Result<()> {
    let needs_nothing =
        diesel::sql_query("SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolname = $1)")
            .bind::<Text, _>(owner);
    if needs_nothing.execute(database).await? == 0 {
        database.batch_execute(&format!("GRANT {} TO CURRENT_USER", identifier(owner))).await?;
    }
    Ok(())
}

/// Error classes are told by message, see [`crate::Error`]. Only a superuser may set this, and it is not worth failing for.
async fn speak_english(database: &mut AsyncPgConnection, app: &str) -> QueryResult<()> {
    database.batch_execute(&format!("ALTER ROLE {app} SET lc_messages TO 'C'")).await
}

/// Quoted names.
struct Names {
    schema: String,
    group: String,
    owner: String,
    app: String,
    database: String,
}

impl Names {
    fn new(schema: &str, owner: &Login, app: &Login) -> Self {
        Self {
            schema: identifier(schema),
            group: identifier(&format!("{schema}_rw")),
            owner: identifier(&owner.role),
            app: identifier(&app.role),
            database: identifier(&owner.database),
        }
    }

    /// Grants nothing on tables that exist: they got their rights when they were made, and migrations may have taken some away.
    fn schema_and_rights(&self) -> String {
        let Self { schema, group, owner, app, database } = self;
        format!(
            "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {owner};
             ALTER SCHEMA {schema} OWNER TO {owner};
             REVOKE ALL ON SCHEMA {schema} FROM PUBLIC;
             GRANT CONNECT ON DATABASE {database} TO {owner}, {app};
             GRANT USAGE ON SCHEMA {schema} TO {group};
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}
                 GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {group};
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}
                 GRANT USAGE, SELECT ON SEQUENCES TO {group};
             GRANT {group} TO {app};
             ALTER ROLE {owner} SET search_path TO {schema};
             ALTER ROLE {app} SET search_path TO {schema};"
        )
    }

    fn default_search_path(&self) -> String {
        format!("ALTER DATABASE {} SET search_path TO {}, public", self.database, self.schema)
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
