/** The forms that a language has for a count. `other` is always there; `zero`, where it is given, is said of none in any language. */
export type Forms = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }

/** Picks a language's form for a count, and puts the number in place of each `#`. */
export function plurals(language: string): (count: number, forms: Forms) => string {
  const rules = new Intl.PluralRules(language)
  const number = new Intl.NumberFormat(language)
  return (count, forms) => {
    const form = count === 0 && forms.zero !== undefined ? forms.zero : (forms[rules.select(count)] ?? forms.other)
    return form.replaceAll('#', number.format(count))
  }
}
