diesel::table! {
    messages (id) {
        id -> Uuid,
        user_id -> Nullable<Uuid>,
        template -> Text,
        locale -> Text,
        lane -> Text,
        recipient -> Text,
        message_id_header -> Text,
        supersedes -> Nullable<Text>,
        state -> Text,
        attempts -> Int4,
        deferrals -> Int4,
        ambiguous -> Int4,
        crashes -> Int4,
        provider -> Nullable<Text>,
        last_reply -> Nullable<Text>,
        failure -> Nullable<Text>,
        command -> Nullable<Bytea>,
        requested_at -> Timestamptz,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        expires_at -> Timestamptz,
        sent_at -> Nullable<Timestamptz>,
        claimed_at -> Nullable<Timestamptz>,
        retry_at -> Nullable<Timestamptz>,
        revived_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    message_transitions (id) {
        id -> Int8,
        message -> Uuid,
        state -> Text,
        attempt -> Int4,
        provider -> Nullable<Text>,
        reply -> Nullable<Text>,
        actor -> Nullable<Text>,
        at -> Timestamptz,
    }
}
