use auth_api::{
    app::bootstrap_admin::{Bootstrapped, bootstrap_admin},
    password::{HashParameters, HashPool, Kernel, PasswordVault},
    service::MIGRATIONS,
};
use clock::SystemClock;
use sealing::KeyRing;
use service_runtime::Registry;
use test_support::TestDatabase;

use crate::harness::credentials;

#[tokio::test(flavor = "multi_thread")]
async fn up_down_up() {
    let database = TestDatabase::new("auth", MIGRATIONS).await;
    let count = pg::migrate::status(&database.owner_url(), MIGRATIONS).await.unwrap().len();
    let reverted = pg::migrate::down(&database.owner_url(), MIGRATIONS, count).await.unwrap();
    assert_eq!(reverted.len(), count);
    let status = pg::migrate::status(&database.owner_url(), MIGRATIONS).await.unwrap();
    assert!(status.iter().all(|migration| !migration.applied));
    assert_eq!(pg::migrate::up(&database.owner_url(), MIGRATIONS).await.unwrap().len(), count);
    assert!(pg::migrate::up(&database.owner_url(), MIGRATIONS).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_is_created_once() {
    let database = TestDatabase::new("auth", MIGRATIONS).await;
    let pool = HashPool::new(Kernel::Reference, 1, &Registry::new()).unwrap();
    let keys = KeyRing::parse("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap();
    let vault = PasswordVault::new(pool, keys, HashParameters::FLOOR);
    let (email, password) = credentials("admin@example.test");
    let service = database.database("test");
    for expected in [Bootstrapped::Created, Bootstrapped::AlreadyThere] {
        let outcome = bootstrap_admin(&service, &vault, &SystemClock, &email, &password).await.unwrap();
        assert_eq!(outcome, expected);
    }
}
