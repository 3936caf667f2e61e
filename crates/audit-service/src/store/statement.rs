use auth_ids::Uuid;
use chrono::{DateTime, Utc};
use diesel::{
    QueryableByName,
    pg::Pg,
    sql_query,
    sql_types::{Array, BigInt, Binary, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A statement that is put together while it is written. Its text comes from this program only, and every value is a
/// parameter. It is planned for its values each time: a plan for any type and actor would walk the whole table for a rare one.
#[derive(Debug, Default)]
pub(super) struct Statement {
    text: String,
    values: Vec<Value>,
}

/// A parameter.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    Texts(Vec<String>),
    Uuid(Uuid),
    Number(i64),
    Time(DateTime<Utc>),
    Bytes(Vec<u8>),
}

impl Statement {
    pub(super) fn sql(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds a parameter, and `text` after it.
    pub(super) fn value(&mut self, value: Value, text: &'static str) -> &mut Self {
        self.values.push(value);
        self.text.push('$');
        self.text.push_str(&self.values.len().to_string());
        self.sql(text)
    }

    pub(super) async fn load<T>(self, conn: &mut AsyncPgConnection) -> pg::Result<Vec<T>>
    where
        T: QueryableByName<Pg> + Send + 'static,
    {
        let mut query = sql_query(self.text).into_boxed::<Pg>();
        for value in self.values {
            query = match value {
                Value::Text(text) => query.bind::<Text, _>(text),
                Value::Texts(texts) => query.bind::<Array<Text>, _>(texts),
                Value::Uuid(id) => query.bind::<SqlUuid, _>(id),
                Value::Number(number) => query.bind::<BigInt, _>(number),
                Value::Time(time) => query.bind::<Timestamptz, _>(time),
                Value::Bytes(bytes) => query.bind::<Binary, _>(bytes),
            };
        }
        Ok(query.load(conn).await?)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
