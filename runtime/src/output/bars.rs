//! What the bars of pictures are drawn with.

/// The characters of a bar.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bars {
    /// `@`, which everything shows.
    #[default]
    Ascii,
    /// Blocks, down to an eighth of a character.
    Blocks,
}

/// Blocks of so many eighths.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

impl Bars {
    /// Blocks, where the locale of this process has them (locale(7): the first variable that is set counts).
    pub fn of_locale() -> Bars {
        let set = |name: &&str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default().to_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { Bars::Blocks } else { Bars::Ascii }
    }

    /// The part of so many characters that `part` is of `whole`, as far as characters, or blocks, fit into it.
    pub fn draw(self, part: u64, whole: u64, width: u64) -> String {
        let in_steps = |steps: u64| (u128::from(part) * u128::from(width * steps) / u128::from(whole.max(1))) as usize;
        match self {
            Bars::Ascii => "@".repeat(in_steps(1)),
            Bars::Blocks => {
                let eighths = in_steps(8);
                "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_finer() {
        assert_eq!(Bars::Ascii.draw(3, 8, 4), "@");
        assert_eq!(Bars::Blocks.draw(3, 8, 4), "█▌");
        assert_eq!(Bars::Blocks.draw(8, 8, 4), "████");
        assert_eq!([Bars::Ascii, Bars::Blocks].map(|bars| bars.draw(0, 0, 4)), ["", ""]);
        assert_eq!(Bars::Blocks.draw(u64::MAX, u64::MAX, 52).chars().count(), 52);
    }
}
