//! A bare actix handler: one prepared select by primary key, with the pool of the services.

use std::net::{SocketAddr, TcpListener};

use actix_web::{App, HttpResponse, HttpServer, Responder, get, web};
use anyhow::Context;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use pg::{Database, DatabaseSettings};
use secrecy::SecretString;
use serde::Serialize;
use uuid::Uuid;

use self::schema::accounts;
use super::{Announcement, end_of_input};

/// As many rows as there are users in the benchmark.
const TABLE: &str = "
    CREATE SCHEMA IF NOT EXISTS load;
    CREATE TABLE IF NOT EXISTS load.accounts (
        id uuid PRIMARY KEY,
        email text NOT NULL,
        display_name text,
        locale text NOT NULL,
        status text NOT NULL,
        roles text[] NOT NULL,
        created_at timestamptz NOT NULL
    );
    INSERT INTO load.accounts
    SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid, 'user' || number || '@example.com',
        NULL, 'en', 'active', ARRAY['user'], now()
    FROM generate_series(1, 2000) AS numbers (number)
    ON CONFLICT DO NOTHING";

/// An account that [`serve`] knows.
pub const ACCOUNT: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001);

mod schema {
    diesel::table! {
        load.accounts (id) {
            id -> Uuid,
            email -> Text,
            display_name -> Nullable<Text>,
            locale -> Text,
            status -> Text,
            roles -> Array<Text>,
            created_at -> Timestamptz,
        }
    }
}

#[derive(Queryable, Selectable, Serialize)]
#[diesel(table_name = accounts, check_for_backend(diesel::pg::Pg))]
#[serde(rename_all = "camelCase")]
struct Account {
    id: Uuid,
    email: String,
    display_name: Option<String>,
    locale: String,
    status: String,
    roles: Vec<String>,
    created_at: DateTime<Utc>,
}

/// Serves `GET /accounts/{id}` until standard input ends. Makes its table where it is missing.
pub async fn serve(listen: SocketAddr, database_url: SecretString) -> anyhow::Result<()> {
    let database = Database::new(&DatabaseSettings::new(database_url, "load ceiling"))?;
    database.connection().await?.batch_execute(TABLE).await.context("cannot make the table")?;
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let database = web::Data::new(database);
    let running = HttpServer::new(move || App::new().app_data(database.clone()).service(account))
        .disable_signals()
        .listen(listener)?
        .run();
    Announcement::Listening(address.to_string()).print()?;
    tokio::select! {
        served = running => served.context("the server failed"),
        () = end_of_input() => Ok(()),
    }
}

#[get("/accounts/{id}")]
async fn account(database: web::Data<Database>, id: web::Path<Uuid>) -> impl Responder {
    match find(&database, *id).await {
        Ok(Some(account)) => HttpResponse::Ok().json(account),
        Ok(None) => HttpResponse::NotFound().finish(),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn find(database: &Database, id: Uuid) -> pg::Result<Option<Account>> {
    let mut conn = database.connection().await?;
    let by_key = accounts::table.find(id).select(Account::as_select());
    Ok(by_key.first(&mut conn).await.optional()?)
}
