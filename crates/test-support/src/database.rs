use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use diesel::{
    QueryableByName,
    migration::MigrationSource,
    pg::Pg,
    sql_types::{Bool, Text},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::EmbeddedMigrations;
use pg::{
    Database, DatabaseSettings,
    bootstrap::{self, Bootstrap},
};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use crate::servers;

/// A database of its own, dropped with the value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    schema: &'static str,
}

impl TestDatabase {
    /// A database with `schema` bootstrapped and migrated. The roles are `<schema>_owner` and `<schema>_app`, their passwords
    /// their names. It is copied from a template that the first test of a build makes.
    pub async fn new(schema: &'static str, migrations: EmbeddedMigrations) -> Self {
        let mut server = connect_as_admin().await;
        let template = Template::new(schema, &migrations);
        // The lock ends with the connection. It also keeps anybody from dropping the template that is copied.
        execute(&mut server, "SELECT pg_advisory_lock(hashtext('test template'))").await;
        template.make_unless_complete(&mut server, migrations).await;
        let this = Self { name: new_name(), schema };
        execute(&mut server, &format!("CREATE DATABASE {} TEMPLATE {}", this.name, template.name())).await;
        // Settings of a database are not copied. With this, tests that look as administrator find the tables.
        execute(&mut server, &format!("ALTER DATABASE {} SET search_path TO {schema}, public", this.name))
            .await;
        this
    }

    /// A database without anything in it, for tests of bootstrap and migrations; the roles do not exist.
    pub async fn empty() -> Self {
        let this = Self { name: new_name(), schema: "empty" };
        execute(&mut connect_as_admin().await, &format!("CREATE DATABASE {}", this.name)).await;
        this
    }

    /// The URL with which a service serves.
    #[must_use]
    pub fn app_url(&self) -> SecretString {
        self.url_as(&format!("{}_app", self.schema))
    }

    /// The URL with which a service migrates.
    #[must_use]
    pub fn owner_url(&self) -> SecretString {
        self.url_as(&format!("{}_owner", self.schema))
    }

    /// The superuser's URL of this database.
    #[must_use]
    pub fn admin_url(&self) -> SecretString {
        in_database(servers::url("TEST_POSTGRES_URL"), &self.name)
    }

    /// The URL of this database for another role, whose password is its name.
    #[must_use]
    pub fn url_as(&self, role: &str) -> SecretString {
        url_as(role, &self.name)
    }

    /// How to reach it in the application role. The limits are wider than a service's, since the machine of a test may be busy.
    #[must_use]
    pub fn settings(&self, application_name: &'static str) -> DatabaseSettings {
        settings(self.app_url(), application_name)
    }

    /// A pool of the application role.
    #[must_use]
    pub fn database(&self, application_name: &'static str) -> Database {
        Database::new(&self.settings(application_name)).expect("a pool")
    }

    /// A pool of the superuser.
    #[must_use]
    pub fn admin(&self) -> Database {
        Database::new(&settings(self.admin_url(), "test")).expect("a pool")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        servers::finish(async move { execute(&mut connect_as_admin().await, &drop).await });
    }
}

/// A migrated database that is only copied.
struct Template {
    schema: &'static str,
    /// The test binary, so that a newer build of it can drop what an older one made.
    binary: u32,
    /// The build: migrations are embedded, so other migrations are another build.
    build: u32,
}

#[derive(QueryableByName)]
struct DatabaseRow {
    #[diesel(sql_type = Text)]
    datname: String,
    #[diesel(sql_type = Bool)]
    datistemplate: bool,
}

impl Template {
    fn new(schema: &'static str, migrations: &EmbeddedMigrations) -> Self {
        let binary = std::env::current_exe().expect("the path of the test binary");
        let built = binary.metadata().and_then(|it| it.modified()).expect("when the test was built");
        let names = MigrationSource::<Pg>::migrations(migrations).expect("embedded migrations");
        let names: Vec<_> = names.iter().map(|it| it.name().to_string()).collect();
        Self { schema, binary: hash(binary), build: hash((built, names)) }
    }

    fn family(&self) -> String {
        format!("template_{}_{:08x}_", self.schema, self.binary)
    }

    fn name(&self) -> String {
        format!("{}{:08x}", self.family(), self.build)
    }

    async fn make_unless_complete(&self, server: &mut AsyncPgConnection, migrations: EmbeddedMigrations) {
        let family: Vec<DatabaseRow> = diesel::sql_query(
            "SELECT datname, datistemplate FROM pg_database WHERE starts_with(datname, $1)",
        )
        .bind::<Text, _>(self.family())
        .load(server)
        .await
        .expect("the list of databases");
        // Becoming a template is the last step of making one.
        if family.iter().any(|row| row.datistemplate && row.datname == self.name()) {
            return;
        }
        for row in family {
            execute(server, &format!("ALTER DATABASE {} IS_TEMPLATE false", row.datname)).await;
            execute(server, &format!("DROP DATABASE {} WITH (FORCE)", row.datname)).await;
        }
        self.make(migrations).await;
        execute(server, &format!("ALTER DATABASE {} IS_TEMPLATE true", self.name())).await;
    }

    async fn make(&self, migrations: EmbeddedMigrations) {
        let owner_url = url_as(&format!("{}_owner", self.schema), &self.name());
        let bootstrap = Bootstrap {
            admin_url: &servers::url("TEST_POSTGRES_URL").to_string().into(),
            owner_url: &owner_url,
            app_url: &url_as(&format!("{}_app", self.schema), &self.name()),
            schema: self.schema,
            default_search_path: false,
        };
        bootstrap::run(&bootstrap).await.expect("bootstrap");
        pg::migrate::up(&owner_url, migrations).await.expect("migrations");
    }
}

fn hash(value: impl Hash) -> u32 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    u32::try_from(hasher.finish() >> 32).expect("the upper half fits")
}

fn new_name() -> String {
    format!("test_{}", Uuid::new_v4().simple())
}

fn url_as(role: &str, database: &str) -> SecretString {
    let mut url = servers::url("TEST_POSTGRES_URL");
    url.set_username(role).and_then(|()| url.set_password(Some(role))).expect("a URL with a host");
    in_database(url, database)
}

fn in_database(mut url: Url, name: &str) -> SecretString {
    url.set_path(name);
    url.to_string().into()
}

fn settings(url: SecretString, application_name: &'static str) -> DatabaseSettings {
    DatabaseSettings {
        max_connections: 8,
        acquire_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
        lock_timeout: Duration::from_secs(5),
        ..DatabaseSettings::new(url, application_name)
    }
}

async fn connect_as_admin() -> AsyncPgConnection {
    let url = servers::url("TEST_POSTGRES_URL");
    AsyncPgConnection::establish(url.as_str()).await.expect("TEST_POSTGRES_URL")
}

async fn execute(server: &mut AsyncPgConnection, sql: &str) {
    if let Err(error) = server.batch_execute(sql).await {
        panic!("{sql}: {error}");
    }
}
