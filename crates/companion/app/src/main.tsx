// The app's first line: draws the shell into #app.
import { render } from 'preact'

const root = document.getElementById('app')
if (root) render(<main>Countersign</main>, root)
