use audit_service::startup::migrations;
use test_support::TestDatabase;

use crate::sql;

const OBJECTS: &str = "(SELECT count(*) FROM pg_class WHERE relnamespace = 'audit'::regnamespace \
                        AND relname NOT LIKE '\\_\\_diesel%') \
                       + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'audit'::regnamespace)";

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_goes_up_down_and_up_again() {
    test_support::install_crypto_provider();
    let database = TestDatabase::new("audit", migrations()).await;
    let admin = database.admin();
    let migrated = sql::number(&admin, OBJECTS).await;
    let all = pg::migrate::status(&database.owner_url(), migrations()).await.unwrap().len();

    assert_eq!(pg::migrate::down(&database.owner_url(), migrations(), all).await.unwrap().len(), all);
    assert_eq!(sql::number(&admin, OBJECTS).await, 0);
    assert_eq!(pg::migrate::up(&database.owner_url(), migrations()).await.unwrap().len(), all);
    assert_eq!(sql::number(&admin, OBJECTS).await, migrated);
}
