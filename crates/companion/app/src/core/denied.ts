// What no catalogue may hold, whoever supplies it: the lists of `crates/grants/src/catalogue/denied.rs`, which
// `test/core/denied.test.ts` holds these to. A broker that slips such a field or purpose into a catalogue is refused by the app itself.
import { needsTap } from './names.ts'

/** DPV terms, compared without regard to case, and words of a path or a code. */
type Lists = readonly (readonly [since: number, terms: string, words: string])[]

export const DATA: Lists = [
  [
    1,
    'Financial FinancialAccount FinancialAccountNumber FinancialStatus AccountIdentifier BankAccount Transactional ' +
      'Transaction Credit CreditCapacity CreditRecord CreditScore CreditStanding CreditWorthiness Income IncomeBracket ' +
      'Insurance LoanRecord Ownership ApartmentOwned HouseOwned CarOwned PersonalPossession Purchase ' +
      'PurchasesAndSpendingHabit Sale Salary Tax PaymentCard PaymentCardNumber PaymentCardExpiry CreditCardNumber OfficialID ' +
      'Passport UID VehicleLicense VehicalLicenseNumber VehicleLicenseNumber VehicalLicenseRegistration ' +
      'VehicleLicenseRegistration SocialNetwork Acquantaince Acquaintance Association Connection Friend GroupMembership ' +
      'Family FamilyStructure Relationship Offspring Parent Sibling Marriage Divorce MaritalStatus GroupProfile Communication ' +
      'EmailContent SocialMedia SocialMediaCommunication PubliclyAvailableSocialMedia VoiceMail VoiceCommunicationRecording ' +
      'PersonalDocuments MedicalHealth Health HealthHistory HealthRecord FamilyHealthHistory IndividualHealthHistory ' +
      'MentalHealth PhysicalHealth BloodType Disability DrugTestResult Prescription Biometric FacialPrint Fingerprint Retina ' +
      'Genetic DNACode PhysicalCharacteristic PhysicalTrait Height Weight HairColor SkinTone Tattoo Piercing Accent Dialect ' +
      'Picture Religion ReligiousBelief PhilosophicalBelief KnowledgeBelief Thought PoliticalAffiliation PoliticalOpinion ' +
      'Opinion Race Ethnicity EthnicOrigin Nationality Citizenship Sexual SexualHistory SexualPreference Fetish Proclivity ' +
      'TradeUnionMembership Criminal CriminalCharge CriminalConviction CriminalOffense CriminalPardon Gender PhysicalAddress ' +
      'Street HouseNumber RoomNumber PostalCode BirthPlace PlaceOfBirth Domicile Residency Authenticating ' +
      'AuthenticationHistory Password PINCode SecretText Behavioral BrowserHistory BrowsingBehavior BrowsingReferral ' +
      'BrowserFingerprint DigitalFingerprint CallLog CommunicationsMetadata LinkClicked TVViewingBehavior DeviceBased ' +
      'DeviceApplications DeviceOperatingSystem DeviceSoftware IPAddress MACAddress UserAgent Demeanor Personality Attitude ' +
      'Reliability VehicleUsage Interest Like Dislike PersonalData External Internal Social Historical Household Tracking ' +
      'Profile IndividualProfile Identifying Demographic Geographic Professional PublicLife LifeHistory Character ' +
      'GeneralReputation SocialStatus',
    'fare fares price prices payment payments pay paid cost amount bank iban account salary income credit invoice receipt ' +
      'tip tax wallet card cards cvv cvc pan passport passports visa ssn identity licence license national nric resident ' +
      'contacts friend friends followers family relatives companions addressbook phonebook message messages chat chats inbox ' +
      'mail mails voicemail post posts transcript health medical disability wheelchair allergy pregnancy medication diet ' +
      'biometric biometrics face facial fingerprint iris retina voiceprint dna photo photos picture pictures image images ' +
      'selfie video videos camera religion politics political race ethnicity nationality citizenship sexuality gender union ' +
      'criminal address street home password passwords pin passkey secret token otp credential credentials browsing browser ' +
      'search searches history clicks calls device ip mac imei interests likes all any everything other data raw',
  ],
  [
    2,
    '',
    'accounts banking financial finance swift receipts passportno idcard aadhaar curp nin tin contactlist following ' +
      'messaging conversation conversations dm dms sms transcripts allergies diagnosis illness symptoms vaccination blood ' +
      'faceprint faceid fingerprints selfies avatar postcode zip birthplace room',
  ],
]

/** Of a precise location: by a word of the path it leaves by a tap alone, from format 3 on, and in no other way. */
export const LOCATION: Lists = [
  [1, 'GPSCoordinate', 'gps latitude longitude lat lon lng coordinate coordinates position'],
  [2, '', 'location whereabouts'],
  [3, 'Location', ''],
]

export const PURPOSES: Lists = [
  [
    1,
    'Marketing Advertising DirectMarketing PersonalisedAdvertising TargetedAdvertising SocialMediaMarketing PublicRelations ' +
      'SellProducts SellProductsToDataSubject SellDataToThirdParties SellInsightsFromData ProvideProductRecommendations ' +
      'ProvideEventRecommendations ProvidePersonalisedRecommendations CreditChecking CustomerSolvencyMonitoring ' +
      'MaintainCreditCheckingDatabase MaintainCreditRatingDatabase PersonnelHiring PersonnelManagement Purpose ' +
      'CommercialPurpose NonCommercialPurpose Personalisation CustomerManagement CustomerRelationshipManagement',
    'ad ads advert adverts advertising marketing promo promotion promotions retargeting upsell sales campaign ' +
      'recommendations newsletter scoring score rating profiling profile credit solvency all any anything other general',
  ],
  [
    2,
    '',
    'advertisement advertisements advertiser advertisers remarketing promotional upselling campaigns newsletters lookalike ' +
      'audience audiences mirroring outreach geofence geofencing nearby proximity winback reengagement prospecting leads cold ' +
      'unsolicited profiles inference inferences prediction',
  ],
]

const TAPS_SINCE = 3

function found(lists: Lists, name: string, term: string, format: number): boolean {
  const parts = name.split(/[._]/)
  const lower = term.toLowerCase()
  return lists.some(([since, terms, words]) => {
    if (format < since) return false
    const denied = new Set(words.split(' '))
    return terms.toLowerCase().split(' ').includes(lower) || parts.some((part) => denied.has(part))
  })
}

/** Whether a field is never brokered. */
export const fieldDenied = (path: string, term: string, format: number): boolean =>
  found(DATA, path, term, format) || (!(format >= TAPS_SINCE && needsTap(path)) && found(LOCATION, path, term, format))

/** Whether a purpose is no exchange of value. */
export const purposeDenied = (code: string, term: string, format: number): boolean => found(PURPOSES, code, term, format)
