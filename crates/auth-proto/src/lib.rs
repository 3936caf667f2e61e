#![doc = include_str!("../README.md")]

/// The encoded `FileDescriptorSet` of every service, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptors.bin");

macro_rules! package {
    ($doc:literal, $module:ident, $file:literal) => {
        #[doc = $doc]
        pub mod $module {
            /// Version 1.
            #[expect(clippy::pedantic, clippy::allow_attributes, reason = "generated")]
            pub mod v1 {
                include!(concat!("generated/", $file));
            }
        }
    };
}

package!("`feature_auth.session`", session, "feature_auth.session.v1.rs");
package!("`feature_auth.mailer`", mailer, "feature_auth.mailer.v1.rs");
package!("`feature_auth.audit`", audit, "feature_auth.audit.v1.rs");
