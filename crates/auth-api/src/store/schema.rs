diesel::table! {
    users (id) {
        id -> Uuid,
        email -> Text,
        status -> Text,
        display_name -> Nullable<Text>,
        locale -> Text,
        roles -> Array<Text>,
        password -> Binary,
        registration_handle_hash -> Nullable<Binary>,
        registration_notice_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        verified_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    one_time_tokens (id) {
        id -> Uuid,
        user_id -> Uuid,
        purpose -> Text,
        token_hash -> Binary,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        consumed_at -> Nullable<Timestamptz>,
    }
}
