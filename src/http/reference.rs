//! `/docs`: the reference of the API for browsers (Swagger UI).

use axum::{
    Router,
    http::{HeaderValue, header},
    middleware::map_response,
    response::Response,
};

/// What the pages of the reference may load: scripts, styles and data of this daemon, and pictures
/// within its style sheets. `style` attributes are part of its markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The pages.
pub(super) fn router() -> Router {
    let config = utoipa_swagger_ui::Config::from("/openapi.json")
        // By default, the page of a daemon that is not localhost has the document checked by
        // validator.swagger.io, which learns the daemon's address.
        .validator_url("none");
    let pages = utoipa_swagger_ui::SwaggerUi::new("/docs").config(config);
    let with_policy = |mut response: Response| async {
        let policy = HeaderValue::from_static(POLICY);
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
        response
    };
    Router::from(pages).layer(map_response(with_policy))
}
