// The app's first line: takes an invitation out of the address, opens the core, and draws.
import { render } from 'preact'
import './ui/tokens.css'
import './ui/base.css'
import './ui/components.css'
import './ui/screens.css'
import { begin } from './ui/app'
import { start } from './ui/start'

begin()
void start(document.getElementById('app'), render)
