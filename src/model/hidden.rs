//! Characters that are not shown as what they are.

/// Whether a character is a control character (C0, DEL, C1), ends a line for some programs, changes the
/// direction of text, or has no width (Unicode, default ignorable). A terminal obeys it instead of showing
/// it, and a line with it may look like another.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}
