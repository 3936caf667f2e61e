//! The operations of the OpenAPI document, so that tests reach those that are still to come.

use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

use crate::harness::{TestApi, body};

/// An id that nothing has.
const NOBODY: &str = "0199f2b4-7a1c-7d3e-8f00-3b1f0c9d2e4a";

/// One documented operation.
pub struct Operation {
    pub method: Method,
    /// As in the document.
    pub template: String,
    pub is_protected: bool,
    /// The query parameters.
    pub query: Vec<String>,
    /// The fields of the JSON body, if it has one.
    pub fields: Option<Vec<Field>>,
}

/// A field of a body.
pub struct Field {
    pub name: String,
    pub is_required: bool,
    /// The JSON types that it may have.
    pub types: Vec<String>,
    /// A value of the right type.
    pub example: Value,
}

impl Operation {
    /// The path, with an id that nothing has.
    pub fn path(&self) -> String {
        let segments =
            self.template.split('/').map(|segment| if segment.starts_with('{') { NOBODY } else { segment });
        segments.collect::<Vec<_>>().join("/")
    }

    /// A request, from an address that no limit knows yet.
    pub fn request(&self, api: &TestApi, token: &str, number: usize) -> RequestBuilder {
        self.request_to(api, &self.path(), token, number)
    }

    /// A request to another path than its own.
    pub fn request_to(&self, api: &TestApi, path: &str, token: &str, number: usize) -> RequestBuilder {
        let request = api.request(self.method.clone(), path).header("x-forwarded-for", address(number));
        if self.is_protected { request.bearer_auth(token) } else { request }
    }

    /// A body whose fields all have the right types.
    pub fn example(&self) -> Map<String, Value> {
        let fields = self.fields.iter().flatten();
        fields.map(|field| (field.name.clone(), field.example.clone())).collect()
    }
}

/// A different address for each number.
pub fn address(number: usize) -> String {
    format!("100.{}.{}.{}", 64 + number / 65536 % 64, number / 256 % 256, number % 256)
}

/// Every operation.
pub async fn operations(api: &TestApi) -> Vec<Operation> {
    let document = body(api.get("/openapi.json").send().await.unwrap()).await;
    let mut operations = Vec::new();
    for (template, of_path) in document["paths"].as_object().unwrap() {
        for (method, described) in of_path.as_object().unwrap() {
            let parameters = described["parameters"].as_array().into_iter().flatten();
            let query = parameters.filter(|parameter| parameter["in"] == "query");
            let schema = &described["requestBody"]["content"]["application/json"]["schema"];
            operations.push(Operation {
                method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
                template: template.clone(),
                is_protected: described["security"].as_array().is_some_and(|schemes| !schemes.is_empty()),
                query: query.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect(),
                fields: schema.is_object().then(|| fields(&document, schema)),
            });
        }
    }
    operations
}

fn fields(document: &Value, schema: &Value) -> Vec<Field> {
    let schema = resolved(document, schema);
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap()).collect();
    let properties =
        schema["properties"].as_object().unwrap_or_else(|| panic!("a body without fields: {schema}"));
    let field = |(name, property): (&String, &Value)| {
        let types = types(document, property);
        let example = match &property["example"] {
            Value::Null => example_of(types.first().map_or("string", String::as_str)),
            example => example.clone(),
        };
        Field { name: name.clone(), is_required: required.contains(&name.as_str()), types, example }
    };
    properties.iter().map(field).collect()
}

/// What a reference refers to; of alternatives, the first that is not null.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return resolved(document, document.pointer(reference.trim_start_matches('#')).unwrap());
    }
    let alternatives = ["oneOf", "anyOf", "allOf"].iter().find_map(|word| schema[*word].as_array());
    match alternatives.and_then(|all| all.iter().find(|alternative| alternative["type"] != "null")) {
        Some(first) => resolved(document, first),
        None => schema,
    }
}

fn types(document: &Value, property: &Value) -> Vec<String> {
    let mut types: Vec<String> = match &resolved(document, property)["type"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => several.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
        _ => vec!["object".to_owned()],
    };
    types.sort_by_key(|name| name == "null");
    types
}

fn example_of(json_type: &str) -> Value {
    match json_type {
        "boolean" => json!(false),
        "integer" | "number" => json!(1),
        "array" => json!([]),
        "object" => json!({}),
        _ => json!("text"),
    }
}
