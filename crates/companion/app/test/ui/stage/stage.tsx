// The app as it is, upon the fake core: `?<scene>` says which day Mei has.
import { render } from 'preact'
import '../../../src/ui/tokens.css'
import '../../../src/ui/base.css'
import '../../../src/ui/components.css'
import '../../../src/ui/screens.css'
import { begin } from '../../../src/ui/app'
import { start } from '../../../src/ui/start'
import { Failed } from '../../../src/core/errors.ts'
import { fakeCore } from '../../fake-core.ts'
import { SCENES } from './scenes.ts'

const shown = SCENES[location.search.slice(1)]
begin()
void start(document.getElementById('app'), render, (languages) => {
  if (shown?.opens) return Promise.reject(new Failed(shown.opens))
  return Promise.resolve(fakeCore(shown?.scene, languages))
})
