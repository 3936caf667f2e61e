diesel::table! {
    subjects (user_id) {
        user_id -> Uuid,
        epoch -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::{Array, BigInt, Binary, Bool, Inet, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid};
    use super::super::row_version::Xid;

    sessions (id) {
        id -> Uuid,
        // Every row of every table has it: the transaction that wrote this version of the row.
        xmin -> Xid,
        user_id -> Uuid,
        roles -> Array<Text>,
        permissions -> Array<Text>,
        amr -> Array<Text>,
        aal -> SmallInt,
        auth_time -> Timestamptz,
        device_name -> Nullable<Text>,
        ip -> Nullable<Inet>,
        user_agent -> Nullable<Text>,
        refresh_key -> Binary,
        generation -> BigInt,
        parent_generation -> Nullable<BigInt>,
        rotated_at -> Timestamptz,
        handed_out_at -> Timestamptz,
        access_token_id -> Uuid,
        generation_seen -> Bool,
        created_at -> Timestamptz,
        last_seen_at -> Timestamptz,
        idle_seconds -> Integer,
        idle_expires_at -> Timestamptz,
        expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        revoked_reason -> Nullable<Text>,
    }
}

diesel::table! {
    signing_keys (kid) {
        kid -> Text,
        paserk -> Text,
        secret -> Binary,
        created_at -> Timestamptz,
        not_before -> Timestamptz,
        retire_at -> Nullable<Timestamptz>,
    }
}

diesel::joinable!(sessions -> subjects (user_id));
diesel::allow_tables_to_appear_in_same_query!(sessions, subjects);
