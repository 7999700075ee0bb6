import { expect, test } from 'vitest'
import { formats } from '../../src/ui/format'
import { load, type Language } from '../../src/ui/messages'
import { valueText as shown } from '../../src/ui/values'

const NOW = Date.UTC(2013, 2, 8, 22, 5)
const of = async (language: Language, zone = 'America/New_York') => formats(language, await load(language), () => NOW, zone)

test('moments are in the person’s own zone and language', async () => {
  expect((await of('en')).moment(NOW)).toBe('Mar 8, 17:05')
  expect((await of('en', 'Asia/Tokyo')).moment(NOW)).toBe('Mar 9, 07:05')
  expect((await of('ja')).moment(NOW)).toBe('3月8日 17:05')
  expect((await of('zh-Hans')).moment(NOW)).toBe('3月8日 17:05')
  expect((await of('en')).moment(Date.UTC(2012, 11, 31, 12))).toBe('Dec 31, 2012, 07:00')
})

test('midnight is 00:00, and a day is the zone’s day', async () => {
  const format = await of('en')
  expect(format.time(Date.UTC(2013, 2, 9, 5))).toBe('00:00')
  expect(format.dayKey(Date.UTC(2013, 2, 9, 4, 59))).toBe('2013-03-08')
  expect(format.dayKey(Date.UTC(2013, 2, 9, 5))).toBe('2013-03-09')
  expect(format.day(NOW)).toBe('Today')
  expect(format.day(NOW - 86_400_000)).toBe('Yesterday')
  expect(format.day(Date.UTC(2013, 2, 4, 15))).toBe('Monday, March 4')
})

test('durations are said in their largest whole unit', async () => {
  const check = async (language: Language, seconds: number, expected: string) => expect((await of(language)).duration(seconds)).toBe(expected)
  await check('en', 0, 'no time')
  await check('en', 1, '1 second')
  await check('en', 90, '90 seconds')
  await check('en', 60, '1 minute')
  await check('en', 3_600, '1 hour')
  await check('en', 86_400, '24 hours')
  await check('en', 2_592_000, '30 days')
  await check('ja', 172_800, '2日')
  await check('zh-Hans', 86_400, '24 小时')
})

test('a value that is a moment is shown as one, and any other as it came', async () => {
  const format = await of('en')
  const say = await load('en')
  const valueText = (value: string, as = format, words = say) => shown(value, as, words)
  expect(valueText('2013-03-08T23:40:00Z')).toBe('Mar 8, 18:40')
  expect(valueText('SK 2183')).toBe('SK 2183')
  expect(valueText('2013-99-99T99:99:99Z')).toBe('2013-99-99T99:99:99Z')
  expect(valueText('<img src=x>')).toBe('<img src=x>')
})

test('a word of the catalogue is shown in the person’s language, and no other word is touched', async () => {
  expect(shown('DRIVER_WAITING', await of('ja'), await load('ja'))).toBe('運転手が待機中')
  expect(shown('DRIVER_WAITING', await of('en'), await load('en'))).toBe('Driver waiting')
  expect(shown('constructor', await of('en'), await load('en'))).toBe('constructor')
})
