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
        credential_epoch -> BigInt,
        password_off_since -> Nullable<Timestamptz>,
        password_off_reason -> Nullable<Text>,
        password_changed_at -> Nullable<Timestamptz>,
        last_login_at -> Nullable<Timestamptz>,
        deletes_at -> Nullable<Timestamptz>,
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

diesel::table! {
    deferred_requests (id) {
        id -> Uuid,
        kind -> Text,
        sealed -> Binary,
        traceparent -> Nullable<Text>,
        created_at -> Timestamptz,
        failures -> Integer,
        due_at -> Timestamptz,
    }
}

diesel::table! {
    mail_allowances (key) {
        key -> Binary,
        sent_at -> Array<Timestamptz>,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    attempts (scope, key) {
        scope -> Text,
        key -> Binary,
        consecutive -> Integer,
        window_started_at -> Timestamptz,
        window_count -> Integer,
        blocked_until -> Nullable<Timestamptz>,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    known_devices (id) {
        id -> Uuid,
        user_id -> Uuid,
        token_hash -> Binary,
        created_at -> Timestamptz,
        last_seen_at -> Timestamptz,
        expires_at -> Timestamptz,
        trusted_until -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    totp_factors (user_id) {
        user_id -> Uuid,
        secret -> Binary,
        enabled_at -> Timestamptz,
        last_step -> BigInt,
    }
}

diesel::table! {
    totp_enrolments (user_id) {
        user_id -> Uuid,
        challenge_hash -> Binary,
        secret -> Binary,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    recovery_codes (user_id, code_hash) {
        user_id -> Uuid,
        code_hash -> Binary,
        created_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    login_challenges (id) {
        id -> Uuid,
        challenge_hash -> Binary,
        user_id -> Uuid,
        credential_epoch -> BigInt,
        device_name -> Nullable<Text>,
        remember_me -> Bool,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        tries -> Integer,
        consumed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    email_changes (id) {
        id -> Uuid,
        user_id -> Uuid,
        old_email -> Text,
        new_email -> Text,
        requested_at -> Timestamptz,
        confirm_hash -> Binary,
        confirm_expires_at -> Timestamptz,
        confirmed_at -> Nullable<Timestamptz>,
        undo_hash -> Nullable<Binary>,
        undo_expires_at -> Nullable<Timestamptz>,
        undone_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    pending_revocations (id) {
        id -> Uuid,
        user_id -> Uuid,
        kept_session -> Nullable<Uuid>,
        reason -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    idempotency_keys (key_hash) {
        key_hash -> Binary,
        request_hash -> Binary,
        answer -> Nullable<Binary>,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    data_exports (id) {
        id -> Uuid,
        user_id -> Uuid,
        document -> Nullable<Binary>,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(totp_factors, users);

diesel::table! {
    stolen_sessions (session_id) {
        session_id -> Uuid,
        user_id -> Uuid,
        told_at -> Timestamptz,
    }
}
