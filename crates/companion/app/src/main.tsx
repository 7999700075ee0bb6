// The app's first lines, small enough to run while the rest is on its way: they take an invitation out of the address, and ask for
// what everything else waits for.
import './ui/tokens.css'
import './ui/base.css'
import './ui/components.css'
import './ui/screens.css'
import { askEarly } from './core/file.ts'
import { take } from './ui/invitation'
import { load } from './ui/messages'
import { read } from './ui/preferences'

take()
askEarly()
// The browser keeps the module; whoever asks for it next hears of a failure.
load(read().language).catch(() => undefined)
void import('./ui/first').then(({ draw }) => draw())
