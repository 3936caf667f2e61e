use std::{collections::HashMap, fmt};

use super::Caller;

type Denied = Box<dyn Fn(&Caller, &str) + Send + Sync>;

/// Which roles may call which method; what is not listed is refused.
pub struct MethodPolicy {
    methods: HashMap<&'static str, Method>,
    on_denied: Option<Denied>,
}

/// A listed method.
#[derive(Debug)]
pub(super) struct Method {
    /// `feature_auth.session.v1.SessionService`.
    pub service: &'static str,
    /// `Validate`.
    pub name: &'static str,
    /// `rpc.session.validate`.
    pub span: String,
    /// Whether it is called so often that it makes spans only for traces that are recorded.
    pub hot: bool,
    roles: &'static [&'static str],
}

impl MethodPolicy {
    /// Rules like `("/feature_auth.session.v1.SessionService/Validate", &["auth-api", "internal"])`.
    #[must_use]
    pub fn new(rules: &'static [(&'static str, &'static [&'static str])]) -> Self {
        let methods = rules.iter().map(|(path, roles)| (*path, Method::new(path, roles))).collect();
        Self { methods, on_denied: None }
    }

    /// Of the listed methods `hot` are called for each request of each internal service: a call makes a span only if its caller's trace is recorded.
    #[must_use]
    pub fn hot(mut self, hot: &[&'static str]) -> Self {
        for path in hot {
            if let Some(method) = self.methods.get_mut(path) {
                method.hot = true;
            }
        }
        self
    }

    /// Hands every refused call to `f`, with the method's path.
    #[must_use]
    pub fn on_denied(self, f: impl Fn(&Caller, &str) + Send + Sync + 'static) -> Self {
        Self { on_denied: Some(Box::new(f)), ..self }
    }

    /// The method, if it is listed.
    pub(super) fn method(&self, path: &str) -> Option<&Method> {
        self.methods.get(path)
    }

    pub(super) fn denied(&self, caller: &Caller, path: &str) {
        if let Some(on_denied) = &self.on_denied {
            on_denied(caller, path);
        }
    }

    /// The services that have listed methods.
    pub(super) fn services(&self) -> Vec<&'static str> {
        let mut services: Vec<&str> = self.methods.values().map(|method| method.service).collect();
        services.sort_unstable();
        services.dedup();
        services
    }
}

impl Method {
    fn new(path: &'static str, roles: &'static [&'static str]) -> Self {
        let (service, name) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        let noun = service.rsplit('.').next().unwrap_or(service);
        let noun = noun.strip_suffix("Service").unwrap_or(noun);
        Self {
            service,
            name,
            span: format!("rpc.{}.{}", snake_case(noun), snake_case(name)),
            hot: false,
            roles,
        }
    }

    /// Over plaintext nobody can prove a role, and every listed method is open.
    pub(super) fn admits(&self, caller: &Caller) -> bool {
        caller.is_unverified() || caller.role().is_some_and(|role| self.roles.contains(&role))
    }
}

impl fmt::Debug for MethodPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodPolicy").field("methods", &self.methods).finish_non_exhaustive()
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_named_after_service_and_method() {
        let method = Method::new("/feature_auth.session.v1.SessionService/ValidateBatch", &[]);
        assert_eq!(method.span, "rpc.session.validate_batch");
        assert_eq!(
            (method.service, method.name),
            ("feature_auth.session.v1.SessionService", "ValidateBatch")
        );
    }

    #[test]
    fn over_tls_nobody_is_admitted_without_a_certificate() {
        let method = Method::new("/feature_auth.session.v1.SessionService/Validate", &["internal"]);
        assert!(!method.admits(&Caller::over_tls(None)));
        assert!(method.admits(&Caller::unverified()));
    }
}
