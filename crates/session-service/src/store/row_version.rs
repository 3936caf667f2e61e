//! The version of a row, by which a change can be made only to what was read.

use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    pg::{Pg, PgValue},
    query_builder::QueryId,
    serialize::{self, Output, ToSql},
    sql_types::{Oid, SqlType},
};

/// The SQL type `xid`.
#[derive(SqlType, QueryId)]
#[diesel(postgres_type(oid = 28, array_oid = 1011))]
pub struct Xid;

/// The `xmin` of a row. Any change to the row changes it; locks do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Xid)]
pub struct RowVersion(u32);

impl FromSql<Xid, Pg> for RowVersion {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        <u32 as FromSql<Oid, Pg>>::from_sql(value).map(Self)
    }
}

impl ToSql<Xid, Pg> for RowVersion {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <u32 as ToSql<Oid, Pg>>::to_sql(&self.0, out)
    }
}
