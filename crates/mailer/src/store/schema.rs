diesel::table! {
    messages (id) {
        id -> Uuid,
        user_id -> Nullable<Uuid>,
        template -> Text,
        locale -> Text,
        lane -> Text,
        recipient -> Text,
        message_id_header -> Text,
        state -> Text,
        attempts -> Int4,
        last_reply -> Nullable<Text>,
        requested_at -> Timestamptz,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        expires_at -> Timestamptz,
        sent_at -> Nullable<Timestamptz>,
        claimed_at -> Nullable<Timestamptz>,
        retry_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    message_transitions (id) {
        id -> Int8,
        message -> Uuid,
        state -> Text,
        attempt -> Int4,
        reply -> Nullable<Text>,
        at -> Timestamptz,
    }
}
