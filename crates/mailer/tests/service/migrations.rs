//! Migrations can be reverted and applied again.

use pg::migrate;
use test_support::TestDatabase;

#[tokio::test(flavor = "multi_thread")]
async fn up_down_up() {
    test_support::install_crypto_provider();
    let database = TestDatabase::new("mailer", mailer::migrations()).await;
    let url = database.owner_url();
    let count = migrate::status(&url, mailer::migrations()).await.unwrap().len();
    assert_eq!(migrate::down(&url, mailer::migrations(), count).await.unwrap().len(), count);
    assert_eq!(migrate::up(&url, mailer::migrations()).await.unwrap().len(), count);
    assert!(migrate::status(&url, mailer::migrations()).await.unwrap().iter().all(|it| it.applied));
}

#[tokio::test]
async fn what_was_written_down_stays_written_down() {
    use diesel_async::SimpleAsyncConnection;
    test_support::install_crypto_provider();
    let database = TestDatabase::new("mailer", mailer::migrations()).await;
    let mut conn = database.database("test").connection().await.unwrap();
    for sql in ["UPDATE message_transitions SET reply = ''", "DELETE FROM message_transitions"] {
        let error = conn.batch_execute(sql).await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{error}");
    }
}
