//! The catalogue of problems as pages: where the `type` of a problem document leads.

use actix_web::{HttpResponse, get, http::header, web};

use super::{
    ApiError,
    edge_error::EdgeError,
    problem_codes::{PROBLEM_CODES, ProblemCode, find},
};

/// All codes.
#[get("/problems")]
pub async fn problems() -> HttpResponse {
    let items: Vec<String> = PROBLEM_CODES
        .iter()
        .map(|ProblemCode { code, status, meaning, .. }| {
            format!("<li><a href=\"/problems/{code}\">{code}</a> ({status}): {}</li>", html(meaning))
        })
        .collect();
    page("Problems", &format!("<ul>\n{}\n</ul>\n", items.join("\n")))
}

/// One code.
#[get("/problems/{code}")]
pub async fn problem(code: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let ProblemCode { code, status, meaning, remedy } = find(&code).ok_or(EdgeError::NotFound)?;
    let body = format!(
        "<p>Status {status}. {}</p>\n<p>What helps: {}</p>\n<p><a href=\"/problems\">All problems</a></p>\n",
        html(meaning),
        html(remedy)
    );
    Ok(page(code, &body))
}

/// Our own sentences, with what stands in backquotes as code. They contain no character that HTML means something by.
fn html(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(index, part)| if index % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() })
        .collect()
}

fn page(title: &str, body: &str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "public, max-age=3600"))
        .content_type("text/html; charset=utf-8")
        .body(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
             <body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
        ))
}
