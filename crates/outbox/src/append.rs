use auth_events::{Envelope, Fact, FactDetail, commands::MailSend, routing::Route};
use pg::AsyncPgConnection;

use crate::{row::Row, store};

/// Stores a fact; it continues the current trace. Call it inside the transaction that makes it true.
pub async fn append_fact<D: FactDetail>(
    conn: &mut AsyncPgConnection,
    event: Envelope<Fact<D>>,
) -> pg::Result<()> {
    store::insert(conn, Row::of_fact(event)?.0).await
}

/// Stores a mail command; it continues the current trace.
pub async fn append_mail(conn: &mut AsyncPgConnection, command: Envelope<MailSend>) -> pg::Result<()> {
    let route = Route::mail(command.data.lane);
    store::insert(conn, Row::new(route, command)?.0).await
}
